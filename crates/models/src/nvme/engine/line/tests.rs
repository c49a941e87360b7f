//! A guest behind a client that emulates INTx the way QEMU does, against a controller whose turns are given by hand.
//!
//! The client takes a signal when it comes to it; ends an interrupt at the guest's next access to a BAR, and then
//! unmasks the line and waits for the answer; posts a doorbell without waiting. The guest's processor latches what is
//! asserted, its driver touches no register unless it finds completions.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use assign::{Assignment, Attached, DmaMapFlags, DmaMapRequest, IrqAction, IrqData, Limits, SetIrqs};
use gate::{AccessKind, ThreadToken};
use nvme_spec::register::{ACQ, AQA, ASQ, CC};
use pci_core::Function;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, memfd_create};

use super::super::super::outbox::Outbox;
use super::super::super::shared::Shared;
use super::super::super::{Backing, Config, Controller, InterruptStyle, Parts, assemble};

const BASE: u64 = 0x10_0000;
const BYTES: u64 = 0x2000;
const SUBMISSION: u64 = 0;
const COMPLETION: u64 = 0x1000;
const ENTRIES: u32 = 8;
/// No test lasts as long: a hold ends only when a test says so.
const GRACE: Duration = Duration::from_secs(3600);

/// What the client has sent and the controller has yet to handle, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Tail(u32),
    Head(u32),
    Unmask,
}

/// What can happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The guest submits a command. If that ends an interrupt, the processor has latched it.
    Submit,
    /// The same, but nothing was latched.
    SubmitUnlatched,
    /// The controller handles the next message.
    Deliver,
    /// The worker has a turn.
    Work,
    /// The client takes the signal and asserts the interrupt.
    Take,
    /// The guest's handler runs, consumes what it finds and rings.
    Handle,
    /// The grace is over.
    Grace,
}

const STEPS: [Step; 7] =
    [Step::Submit, Step::SubmitUnlatched, Step::Deliver, Step::Work, Step::Take, Step::Handle, Step::Grace];

struct World {
    token: ThreadToken,
    assignment: Arc<Assignment>,
    _attached: Attached,
    shared: Arc<Shared>,
    out: Outbox,
    memory: File,
    event: OwnedFd,
    messages: VecDeque<Message>,
    /// Commands submitted by the guest, known to the controller, answered, and consumed by the guest.
    submitted: u32,
    known: u32,
    answered: u32,
    consumed: u32,
    /// The client asserts the interrupt.
    pending: bool,
    /// The handler is going to run.
    latched: bool,
    /// A signal waits in the eventfd.
    signalled: bool,
    /// Signals so far.
    signals: u64,
    /// How often the handler found nothing.
    spurious: u32,
    /// The client and its guest go on while an unmask is on its way. QEMU does not.
    hasty: bool,
}

impl World {
    fn new() -> Self {
        let mut token = ThreadToken::at_thread_entry();
        let config = Config { interrupts: InterruptStyle::Intx, ..Config::default() };
        let parts =
            assemble(gate::Gate::new("line"), &config, Backing::memory(1 << 20).unwrap(), Arc::new(()));
        let Parts { shared, gate, space } = parts.unwrap();
        let port = Arc::clone(&shared.port);
        let device = Arc::new(Controller::without_worker(Arc::clone(&shared), InterruptStyle::Intx));
        let function = Arc::new(Function::new("line", gate, space, device));
        let assignment = Assignment::new(function, port, Limits::default());
        let attached = assignment.attach(&mut token).unwrap();
        let memory = File::from(memfd_create("line", MemfdFlags::CLOEXEC).unwrap());
        memory.set_len(BYTES).unwrap();
        let request = DmaMapRequest {
            flags: DmaMapFlags(DmaMapFlags::READ | DmaMapFlags::WRITE),
            offset: 0,
            iova: BASE,
            size: BYTES,
            fd: Some(OwnedFd::from(memory.try_clone().unwrap())),
        };
        assignment.dma_map(&mut token, request).unwrap();
        assignment.region_write(&mut token, 7, 4, &6u16.to_le_bytes()).unwrap();
        let event = eventfd(0, EventfdFlags::NONBLOCK).unwrap();
        let mut world = Self {
            token,
            assignment,
            _attached: attached,
            shared,
            out: Outbox::default(),
            memory,
            event,
            messages: VecDeque::new(),
            submitted: 0,
            known: 0,
            answered: 0,
            consumed: 0,
            pending: false,
            latched: false,
            signalled: false,
            signals: 0,
            spurious: 0,
            hasty: false,
        };
        let wire = IrqData::Eventfd(vec![world.event.try_clone().unwrap()]);
        world.set_irqs(IrqAction::Trigger, wire);
        world.enable();
        world
    }

    /// Queues full of commands that are answered at once (with an error).
    fn enable(&mut self) {
        for entry in 0..u64::from(ENTRIES) {
            self.memory.write_all_at(&[0xff], SUBMISSION + entry * 64).unwrap();
        }
        self.memory.write_all_at(&[0; 0x100], COMPLETION).unwrap();
        self.write(AQA, u64::from((ENTRIES - 1) << 16 | (ENTRIES - 1)), 4);
        self.write(ASQ, BASE + SUBMISSION, 8);
        self.write(ACQ, BASE + COMPLETION, 8);
        self.write(CC, 0x0046_0001, 4);
        self.engine(|engine, _| engine.set_grace(GRACE));
    }

    fn engine<R>(&mut self, call: impl FnOnce(&mut super::Engine, &mut Outbox) -> R) -> R {
        let pass = self.shared.port.handle().try_enter(&self.token, AccessKind::Dma).unwrap();
        self.shared.with_engine(&pass, &mut self.out, call)
    }

    fn write(&mut self, offset: u64, value: u64, len: usize) {
        self.assignment.region_write(&mut self.token, 0, offset, &value.to_le_bytes()[..len]).unwrap();
        self.look();
    }

    fn set_irqs(&mut self, action: IrqAction, data: IrqData<'_>) {
        let request = SetIrqs { index: 0, start: 0, count: 1, action, data };
        self.assignment.set_irqs(&mut self.token, request).unwrap();
        self.look();
    }

    /// Counts signals as they come.
    fn look(&mut self) {
        let mut count = [0; 8];
        if rustix::io::read(&self.event, &mut count).is_ok() {
            self.signals += u64::from_ne_bytes(count);
            self.signalled = true;
        }
    }

    fn holds(&mut self) -> bool {
        self.engine(|engine, _| engine.hold_end().is_some())
    }

    fn can(&mut self, step: Step) -> bool {
        // The client waits for the answer to an unmask with its lock held: neither it nor a guest's access goes on.
        let waits = !self.hasty && self.messages.contains(&Message::Unmask);
        match step {
            Step::Submit => !waits && self.submitted - self.consumed < 3,
            // Without an interrupt to end it is no other step than the one above.
            Step::SubmitUnlatched => self.can(Step::Submit) && self.pending && self.latched,
            Step::Deliver => !self.messages.is_empty(),
            Step::Work => self.known > self.answered,
            Step::Take => !waits && self.signalled,
            Step::Handle => !waits && self.latched,
            Step::Grace => self.holds(),
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Submit => {
                self.submitted += 1;
                self.access(Message::Tail(self.submitted % ENTRIES));
            }
            Step::SubmitUnlatched => {
                self.latched = false;
                self.step(Step::Submit);
            }
            Step::Deliver => match self.messages.pop_front().unwrap() {
                Message::Tail(value) => {
                    self.known += 1;
                    self.write(0x1000, value.into(), 4);
                }
                Message::Head(value) => self.write(0x1004, value.into(), 4),
                Message::Unmask => self.set_irqs(IrqAction::Unmask, IrqData::None),
            },
            Step::Work => {
                let pass = self.shared.port.handle().try_enter(&self.token, AccessKind::Dma).unwrap();
                assert!(self.shared.turn(&pass, &mut self.out));
                drop(pass);
                self.answered = self.known;
                self.look();
            }
            Step::Take => {
                self.signalled = false;
                self.pending = true;
                self.latched = true;
            }
            Step::Handle => self.handle(),
            Step::Grace => {
                self.engine(|engine, out| engine.end_hold(Instant::now() + 2 * GRACE, out));
                self.look();
            }
        }
    }

    /// An access to a BAR: a message, and the end of an interrupt that is asserted.
    fn access(&mut self, message: Message) {
        self.messages.push_back(message);
        if std::mem::take(&mut self.pending) {
            self.messages.push_back(Message::Unmask);
        }
    }

    fn handle(&mut self) {
        let before = self.consumed;
        loop {
            let mut last = [0; 4];
            self.memory
                .read_exact_at(&mut last, COMPLETION + u64::from(self.consumed % ENTRIES) * 16 + 12)
                .unwrap();
            // The phase tag of the lap that the guest is in.
            if u32::from(last[2] & 1) == self.consumed / ENTRIES % 2 {
                break;
            }
            self.consumed += 1;
        }
        if self.consumed == before {
            self.spurious += 1;
            // Nothing was touched, so an interrupt that is asserted stays so: it is latched again at once.
            self.latched = self.pending;
        } else {
            self.latched = false;
            self.access(Message::Head(self.consumed % ENTRIES));
        }
    }

    #[track_caller]
    fn play(&mut self, steps: &[Step]) {
        for step in steps {
            assert!(self.can(*step), "{step:?} is not possible");
            self.step(*step);
        }
    }

    /// Lets everything happen that has to, but no new command; then no completion may be left.
    fn settle(&mut self, path: &[Step]) {
        let spurious = self.spurious;
        // A few steps are enough for each command.
        for _ in 0..100 {
            let due = [Step::Deliver, Step::Work, Step::Take, Step::Handle, Step::Grace];
            let Some(step) = due.into_iter().find(|step| self.can(*step)) else { break };
            self.step(step);
            if self.spurious > spurious && step == Step::Handle {
                // A storm: it ends with the next access.
                self.latched = false;
                if std::mem::take(&mut self.pending) {
                    self.messages.push_back(Message::Unmask);
                }
            }
        }
        assert_eq!(self.consumed, self.submitted, "an interrupt was lost after {path:?}");
        assert!(!self.pending && !self.signalled && !self.shared.board.line(), "after {path:?}");
    }
}

/// Plays every sequence of `length` steps out of `allowed` that is possible, each from the same state. Says how many
/// there were, and how many of them made the handler run for nothing.
fn explore(length: usize, hasty: bool, allowed: &[Step]) -> (u32, u32) {
    let mut world = World::new();
    world.hasty = hasty;
    let (mut count, mut storms) = (0, 0);
    // The choice at each step, of those that are possible there.
    let mut choices: Vec<(usize, usize)> = Vec::new();
    loop {
        let mut path = Vec::new();
        world.spurious = 0;
        for at in 0..length {
            let possible: Vec<Step> = allowed.iter().copied().filter(|step| world.can(*step)).collect();
            if at == choices.len() {
                choices.push((0, possible.len()));
            }
            assert_eq!(choices[at].1, possible.len(), "not the same again: {path:?}");
            let step = possible[choices[at].0];
            path.push(step);
            world.step(step);
        }
        count += 1;
        storms += u32::from(world.spurious > 0);
        world.settle(&path);
        while choices.last().is_some_and(|(choice, of)| choice + 1 == *of) {
            choices.pop();
        }
        match choices.last_mut() {
            Some((choice, _)) => *choice += 1,
            None => return (count, storms),
        }
    }
}

use Step::{Deliver, Grace, Handle, Submit, SubmitUnlatched, Take, Work};

/// The first interrupt is asserted, and the guest submits before its handler runs.
const SUBMITTED_WHILE_ASSERTED: [Step; 7] = [Submit, Deliver, Work, Take, Submit, Deliver, Deliver];

#[test]
fn a_guest_that_submits_while_its_interrupt_is_asserted_is_not_signalled_twice() {
    let mut world = World::new();
    world.play(&SUBMITTED_WHILE_ASSERTED);
    world.play(&[Work, Handle, Deliver]);
    assert_eq!((world.consumed, world.signals), (2, 1));
    assert!(!world.shared.board.line() && !world.holds());
    world.play(&[Submit, Deliver, Work]);
    assert_eq!(world.signals, 2, "the next completion is signalled as ever");
}

#[test]
fn what_the_handler_has_left_is_signalled_with_its_doorbell() {
    let mut world = World::new();
    world.play(&SUBMITTED_WHILE_ASSERTED);
    world.play(&[Handle, Work]);
    assert_eq!((world.consumed, world.signals), (1, 1), "the second completion came during the hold");
    world.play(&[Deliver]);
    assert_eq!(world.signals, 2);
}

#[test]
fn a_guest_that_latched_nothing_is_signalled_again_when_the_grace_is_over() {
    let mut world = World::new();
    world.play(&[Submit, Deliver, Work, Take, SubmitUnlatched, Deliver, Deliver]);
    assert_eq!(world.signals, 1);
    world.engine(|engine, out| engine.end_hold(Instant::now(), out));
    assert!(world.holds(), "not yet");
    world.play(&[Grace]);
    assert_eq!(world.signals, 2);
    world.play(&[Take, Handle, Deliver, Deliver]);
    assert_eq!(world.consumed, 1);
}

#[test]
fn a_doorbell_does_not_prolong_a_hold() {
    let mut world = World::new();
    world.play(&SUBMITTED_WHILE_ASSERTED);
    let end = world.engine(|engine, _| engine.hold_end());
    world.play(&[Submit, Deliver]);
    assert_eq!(world.engine(|engine, _| engine.hold_end()), end);
}

#[test]
fn a_submission_with_the_line_low_holds_nothing() {
    let mut world = World::new();
    world.play(&[Submit, Deliver]);
    assert!(!world.holds());
    world.play(&[Work, Take, Handle, Deliver, Deliver, Submit, Deliver]);
    assert!(!world.holds());
}

#[test]
fn a_level_that_has_not_been_signalled_yet_is_not_held_low() {
    let mut world = World::new();
    world.shared.board.set_line(true);
    world.play(&[Submit, Deliver]);
    assert!(
        !world.holds() && world.shared.board.line(),
        "or the signal that is on its way would be swallowed"
    );
}

#[test]
fn every_reset_ends_a_hold() {
    let disable = |world: &mut World| world.write(CC, 0, 4);
    let reset = |world: &mut World| world.assignment.reset(&mut world.token).unwrap();
    for reset in [disable as fn(&mut World), reset] {
        let mut world = World::new();
        world.play(&SUBMITTED_WHILE_ASSERTED);
        assert!(world.holds());
        reset(&mut world);
        assert!(!world.holds());
    }
}

#[test]
fn no_interrupt_is_lost_in_any_order() {
    for hasty in [false, true] {
        let (count, _) = explore(12, hasty, &STEPS);
        assert!(count > 5_000, "{count} orders");
    }
}

#[test]
fn no_interrupt_comes_for_nothing_while_handlers_run_within_the_grace() {
    let (count, for_nothing) = explore(16, false, &[Submit, Deliver, Work, Take, Handle]);
    assert!(count > 10_000, "{count} orders");
    assert_eq!(for_nothing, 0);
}
