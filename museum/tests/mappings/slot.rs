//! A function whose memory is mapped, with everything around it that is simulated.

use super::kernel::{Faults, Met, PAGE, PAGES, Range, Shows};
use super::pages::{Flaw, Simulated, Treatment, Windows};
use super::truth::Truth;
use crate::machine::tally::note;
use crate::machine::time::Jumping;
use crate::{COMMAND, MEMORY, Work, ahead, work};
use gate::{Deadline, Gate, GateState, Pass, Quiesced, Refusal, ThreadToken};
use mapping::{MapError, MapRequest, Mapping, MappingError, Memory, OnDisabled, Trap};
use pci_core::{
    AccessError, BarIndex, BarKind, Change, ConfigSpace, Device, Express, Function, Identity, Pm, PowerState,
    ResetKind, Width,
};
use pci_spec::ClassCode;
use shuttle::sync::Mutex;
use shuttle::thread;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Threads that answer faults.
const HANDLERS: usize = 2;

/// The ranges of one device.
#[derive(Default)]
struct Ranges(Mutex<Vec<Arc<Range>>>);

impl Ranges {
    fn all(&self) -> Vec<Arc<Range>> {
        self.0.lock().unwrap().clone()
    }

    fn assert_nothing_is_present(&self) {
        for range in self.all() {
            assert!(range.is_left() || range.pages().0 == 0, "present after it was taken away (MM-I3)");
        }
    }
}

/// A device that has its memory to itself while it is reset, or put to sleep.
struct Card {
    truth: Arc<Truth>,
    ranges: Arc<Ranges>,
}

impl Card {
    fn alone(&self) {
        let _shut = self.truth.shut();
        self.truth.assert_nobody_populates();
        self.ranges.assert_nothing_is_present();
        thread::yield_now();
    }
}

impl Device for Card {
    fn read_bar(&self, _: &Pass<'_>, _: BarIndex, _: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write_bar(&self, _: &Pass<'_>, _: BarIndex, _: u64, _: &[u8]) {}

    fn reset(&self, _: &Quiesced<'_>, _: ResetKind) {
        self.alone();
    }

    fn power_changed(&self, _: &Quiesced<'_>, change: Change<PowerState>) {
        if change.old == PowerState::D0 {
            self.alone();
        }
    }

    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// Pages of a checker are never trapped.
struct Untrapped;

impl Trap for Untrapped {
    fn read(
        &self,
        _: &mut ThreadToken,
        _: u32,
        _: u64,
        _: &mut [u8],
        _: Deadline,
    ) -> Result<(), MappingError> {
        Err(MappingError::OutOfRange)
    }

    fn write(&self, _: &mut ThreadToken, _: u32, _: u64, _: &[u8], _: Deadline) -> Result<(), MappingError> {
        Err(MappingError::OutOfRange)
    }
}

/// One device in its place, and those who answer the faults on its memory.
pub(crate) struct Slot {
    pub(crate) gate: Gate,
    pub(crate) function: Function,
    pub(crate) config: Arc<ConfigSpace>,
    pub(crate) truth: Arc<Truth>,
    pub(crate) faults: Arc<Faults>,
    pub(crate) windows: Arc<Windows>,
    ranges: Arc<Ranges>,
    made: AtomicUsize,
    treatment: Treatment,
}

/// A consumer's mapping of both pages.
pub(crate) struct Mapped {
    /// Dropping it unmaps the range.
    _mapping: Mapping,
    pub(crate) range: Arc<Range>,
}

impl Mapped {
    /// An access, and how it ended.
    pub(crate) fn touch(&self, page: usize) -> Met {
        let met = self.range.read(page);
        let what = match met {
            Met::Value(_) => "value",
            Met::AllOnes => "all-ones",
            Met::BusError => "bus error",
            Met::Nothing => "nothing",
        };
        note(what, &Ok::<_, ()>(()));
        met
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        self.range.leave();
    }
}

impl Slot {
    pub(crate) fn new() -> Arc<Slot> {
        Slot::with(&Gate::new("f"), Treatment::default())
    }

    /// With memory that is made present page by page.
    pub(crate) fn large() -> Arc<Slot> {
        Slot::with(&Gate::new("f"), Treatment { one_by_one: true, ..Treatment::default() })
    }

    /// With a step of the pages done wrong.
    pub(crate) fn flawed(flaw: Flaw) -> Arc<Slot> {
        Slot::with(&Gate::new("f"), Treatment { flaw: Some(flaw), ..Treatment::default() })
    }

    /// A device in the gate's present epoch, with its memory enabled.
    pub(crate) fn with(gate: &Gate, treatment: Treatment) -> Arc<Slot> {
        let config = ConfigSpace::builder(Identity::new(0x1b36, 0x0010, ClassCode::NVME))
            .bar(BarIndex::new(0).unwrap(), BarKind::Memory64, PAGE * u64::try_from(PAGES).unwrap())
            .capability(Pm::default())
            .capability(Express::default())
            .build()
            .unwrap();
        let (config, truth, ranges) =
            (Arc::new(config), Arc::new(Truth::of(gate)), Arc::new(Ranges::default()));
        let _effects = config.write(COMMAND, &MEMORY.to_le_bytes()[..2]);
        let card = Arc::new(Card { truth: truth.clone(), ranges: ranges.clone() });
        let function =
            Function::new("f", gate.clone(), config.clone(), card).timed_by(Arc::new(Jumping::default()));
        let (faults, windows) = (Arc::new(Faults::default()), Arc::new(Windows::default()));
        let made = AtomicUsize::new(0);
        Arc::new(Slot {
            gate: gate.clone(),
            function,
            config,
            truth,
            faults,
            windows,
            ranges,
            made,
            treatment,
        })
    }

    /// Maps the whole BAR.
    pub(crate) fn try_map(&self, on_disabled: OnDisabled) -> Result<Arc<Mapped>, MapError> {
        let range = Range::new(self.made.fetch_add(1, Relaxed), &self.faults, &self.truth);
        let size = PAGE * u64::try_from(PAGES).unwrap();
        let request = MapRequest {
            owner: "consumer".to_owned(),
            region: 0,
            memory: Memory::new("bar", size),
            offset: 0,
            size,
            on_disabled,
            trap: Arc::new(Untrapped),
        };
        let pages =
            Simulated { range: range.clone(), windows: self.windows.clone(), treatment: self.treatment };
        let mapping = self.function.mappings().map_on(request, Arc::new(pages))?;
        // From now on it shows what it should.
        self.ranges.0.lock().unwrap().push(range.clone());
        Ok(Arc::new(Mapped { _mapping: mapping, range }))
    }

    pub(crate) fn map(&self) -> Arc<Mapped> {
        self.try_map(OnDisabled::Fail).unwrap()
    }

    /// Writes a register, and does what that asks for. False if the function was frozen, or gone.
    pub(crate) fn write(&self, token: &mut ThreadToken, register: u16, value: u32) -> bool {
        match self.function.write_register(token, register, Width::Word, value, ahead()) {
            Ok(_) => true,
            Err(AccessError::Refused(Refusal::Frozen | Refusal::Gone | Refusal::StaleEpoch { .. })) => false,
            // Written, and then the function went.
            Err(AccessError::NotReset(_) | AccessError::PowerNotChanged(_)) => false,
            Err(other) => panic!("{other}"),
        }
    }

    pub(crate) fn enable(&self, token: &mut ThreadToken) {
        self.write(token, COMMAND, MEMORY);
    }

    pub(crate) fn assert_nothing_is_present(&self) {
        self.ranges.assert_nothing_is_present();
    }

    /// Every range that somebody has shows all-ones.
    pub(crate) fn assert_hidden(&self) {
        for range in self.ranges.all() {
            let shows = range.shows();
            assert!(range.is_left() || shows == Shows::AllOnes, "not hidden: {shows:?}");
        }
    }

    /// Nobody does anything any more: every range shows what it should.
    pub(crate) fn assert_at_rest(&self) {
        let gone = self.function.handle().is_gone();
        if !gone {
            assert_eq!(self.gate.status().state, GateState::Open);
        }
        let reachable = self.config.decodes(BarIndex::new(0).unwrap());
        for range in self.ranges.all() {
            let (present, poisoned) = range.pages();
            match range.shows() {
                shows if range.is_left() => assert_eq!(shows, Shows::Nothing, "left mapped"),
                Shows::Nothing => panic!("unmapped while somebody has it"),
                // What was thawed stays hidden until it can be reached.
                Shows::AllOnes => assert!(gone || !reachable, "hidden for ever"),
                shows => {
                    assert!(!gone && shows == Shows::Memory, "{shows:?} when all is over");
                    assert!(reachable || present == 0, "present and disabled (MM-I3)");
                    assert!(!reachable || poisoned == 0, "poison is left (MM-I4)");
                }
            }
        }
    }
}

/// Runs consumers and actors with those who answer faults. When the actors are done the memory is enabled: whoever waits for
/// that gets in, and nobody is stuck.
pub(crate) fn run(slot: &Arc<Slot>, consumers: Vec<Work>, actors: Vec<Work>) {
    let spawn = |work: Work| thread::spawn(move || work(&mut ThreadToken::at_thread_entry()));
    let handlers: Vec<_> = (0..HANDLERS).map(|_| spawn(work(slot, handler))).collect();
    let consumers: Vec<_> = consumers.into_iter().map(spawn).collect();
    let actors: Vec<_> = actors.into_iter().map(spawn).collect();
    actors.into_iter().for_each(|actor| actor.join().unwrap());
    spawn(work(slot, Slot::enable)).join().unwrap();
    consumers.into_iter().for_each(|consumer| consumer.join().unwrap());
    slot.faults.close();
    handlers.into_iter().for_each(|handler| handler.join().unwrap());
    slot.assert_at_rest();
}

/// A thread that answers faults.
fn handler(slot: &Slot, token: &mut ThreadToken) {
    while let Some(fault) = slot.faults.next() {
        // Nobody waits for the page of a mapping that is unmapped.
        if let Some(window) = slot.windows.of_range(fault.range) {
            let offset = PAGE * u64::try_from(fault.page).unwrap();
            let _deadline = window.fault(token, offset);
        }
    }
}

/// Touches both pages, the second one first, as often as `rounds`.
pub(crate) fn consumer(mapped: &Arc<Mapped>, rounds: usize) -> Work {
    let mapped = mapped.clone();
    Box::new(move |_token| {
        for _ in 0..rounds {
            (0..PAGES).rev().for_each(|page| _ = mapped.touch(page));
        }
    })
}
