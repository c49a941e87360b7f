//! Any order of commands, answers, silence, resets and recoveries: every command of a life is answered once, and none of a life
//! before.

use std::collections::BTreeSet;

use nvme_spec::register::CC;
use nvme_spec::{AdminOpcode, NvmOpcode, Status};
use proptest::prelude::*;

use super::super::super::by_hand::io;
use super::{Front, Sent, admin};

#[derive(Clone, Copy, Debug)]
enum Step {
    Submit {
        admin: bool,
    },
    /// One of the commands that are there comes back.
    Finish(u8),
    /// An answer that nobody waits for.
    Stray(u16),
    Room(u8),
    Turn,
    Disable,
    Reset,
    /// Save, reset, restore.
    Recover,
    Settle,
    Up(bool),
    BringUp,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => any::<bool>().prop_map(|admin| Step::Submit { admin }),
        10 => any::<u8>().prop_map(Step::Finish),
        1 => any::<u16>().prop_map(Step::Stray),
        3 => (0..4_u8).prop_map(Step::Room),
        4 => Just(Step::Turn),
        1 => Just(Step::Disable),
        1 => Just(Step::Reset),
        2 => Just(Step::Recover),
        2 => Just(Step::Settle),
        1 => any::<bool>().prop_map(Step::Up),
        4 => Just(Step::BringUp),
    ]
}

/// A host that knows what it is owed.
struct Host {
    front: Front,
    /// Whether both queues are there.
    works: bool,
    next: u16,
    /// Answers owed, by queue.
    owed: [BTreeSet<u16>; 2],
    /// What the back end has, also of lives before.
    there: Vec<Sent>,
}

impl Host {
    fn new() -> Host {
        let (owed, there) = (Default::default(), Vec::new());
        Host { front: Front::new(), works: true, next: 0, owed, there }
    }

    fn play(&mut self, step: Step) {
        let front = &mut self.front;
        match step {
            Step::Submit { admin: of_admin } if self.works => {
                let queue = usize::from(!of_admin);
                // As many as the queues take.
                if self.owed[queue].len() < 50 {
                    self.next += 1;
                    self.owed[queue].insert(self.next);
                    let command =
                        if of_admin { admin(AdminOpcode::Identify, 2) } else { io(NvmOpcode::Write, 0) };
                    front.submit(queue, self.next, command);
                }
            }
            Step::Submit { .. } => {}
            Step::Finish(nth) => {
                if !self.there.is_empty() {
                    let sent = self.there.remove(usize::from(nth) % self.there.len());
                    front.finish(sent.tag, u32::from(sent.entry.cid.get()), Status::SUCCESS);
                }
            }
            Step::Stray(tag) => {
                if self.there.iter().all(|sent| sent.tag != tag) {
                    front.finish(tag, 0, Status::SUCCESS);
                }
            }
            Step::Room(room) => {
                front.back.inner().room = if room == 3 { usize::MAX } else { room.into() };
                front.disk.turn();
            }
            Step::Turn => front.disk.turn(),
            Step::Disable => {
                front.disk.write(CC, 0);
                self.forget();
            }
            Step::Reset => {
                front.reset();
                self.forget();
            }
            Step::Recover => front.recover(),
            Step::Settle => {
                // What is settled never comes back.
                let settled = std::mem::replace(&mut front.back.inner().settled, true);
                if !settled {
                    self.there.clear();
                }
                front.disk.turn();
            }
            Step::Up(up) => {
                front.back.inner().up = up;
                front.disk.turn();
            }
            Step::BringUp => self.bring_up(),
        }
        self.look();
    }

    fn forget(&mut self) {
        self.works = false;
        self.owed = Default::default();
    }

    fn bring_up(&mut self) {
        let disk = &mut self.front.disk;
        disk.turn();
        let enabled = |front: &Front| front.fact("controller") == "enabled";
        if self.works || !enabled(&self.front) && self.front.disk.status().rdy() {
            // A reset is under way.
            return;
        }
        if !enabled(&self.front) {
            let disk = &mut self.front.disk;
            disk.write(CC, 0);
            disk.forget_queues();
            disk.set_enabled();
            disk.turn();
        }
        if enabled(&self.front) {
            self.front.disk.make_queues();
            self.works = true;
        }
    }

    /// What came is what was owed.
    fn look(&mut self) {
        self.there.extend(self.front.back.take());
        for queue in 0..2 {
            while let Some(answer) = self.front.disk.completion(queue) {
                let cid = answer.cid.get();
                assert!(self.works && self.owed[queue].remove(&cid), "{cid} is not owed");
                assert_eq!(answer.dw0.get(), u32::from(cid));
            }
        }
    }

    /// The back end does everything that it has.
    fn end(&mut self) {
        self.play(Step::Up(true));
        self.play(Step::Room(3));
        while !self.there.is_empty() {
            self.play(Step::Finish(0));
        }
        self.play(Step::Settle);
        self.play(Step::BringUp);
        assert!(self.works && self.owed.iter().all(BTreeSet::is_empty), "{:?}", self.owed);
        assert_eq!(self.front.fact("commands in flight"), "0");
        self.front.disk.turn();
    }
}

impl Front {
    fn recover(&mut self) {
        let Ok(state) = self.save() else { return };
        self.reset();
        self.restore(&state).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_command_is_answered_once_in_its_life_or_never(steps in proptest::collection::vec(step(), 1..40)) {
        let mut host = Host::new();
        for step in steps {
            host.play(step);
        }
        host.end();
    }
}
