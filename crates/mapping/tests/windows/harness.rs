//! A function with a gate and memory, pages that do as they are told, and a consumer that touches them.

use gate::{Deadline, Gate, Quiesced, Reason, ThreadToken};
use mapping::{
    MapError, MapRequest, Mapping, MappingError, MappingLimits, MappingState, Mappings, Memory, OnDisabled,
    Pages, PagesError, Reach, Trap, Window,
};
use std::collections::BTreeSet;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

pub(crate) const PAGE: u64 = 4096;
/// Bytes of a region, and of a mapping unless a test says otherwise.
pub(crate) const SIZE: u64 = 4 * PAGE;
pub(crate) const REGION: u32 = 2;

/// Long enough for a loaded machine; a test that needs it to pass has failed.
pub(crate) fn ahead() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

/// Runs something on a thread of its own, which has a token of its own, and waits for its end.
pub(crate) fn elsewhere<T: Send>(run: impl FnOnce(&mut ThreadToken) -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| run(&mut ThreadToken::at_thread_entry()));
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// A function: its gate, whether its region is enabled, its mappings.
pub(crate) struct Function {
    pub(crate) gate: Gate,
    pub(crate) enabled: Arc<Enabled>,
    pub(crate) mappings: Mappings,
    pub(crate) memory: Arc<Memory>,
}

#[derive(Default)]
pub(crate) struct Enabled(AtomicBool);

impl Enabled {
    pub(crate) fn set(&self, enabled: bool) {
        self.0.store(enabled, Ordering::SeqCst);
    }
}

impl Reach for Enabled {
    fn is_reachable(&self, region: u32) -> bool {
        assert_eq!(region, REGION);
        self.0.load(Ordering::SeqCst)
    }
}

impl Function {
    /// Enabled, with nothing mapped.
    pub(crate) fn new() -> Function {
        Function::with(MappingLimits::default())
    }

    pub(crate) fn with(limits: MappingLimits) -> Function {
        let gate = Gate::new("f");
        let enabled = Arc::new(Enabled(AtomicBool::new(true)));
        let mappings = Mappings::new(&gate, enabled.clone(), limits);
        Function { gate, enabled, mappings, memory: Memory::new("test", SIZE) }
    }

    pub(crate) fn request(&self, on_disabled: OnDisabled) -> MapRequest {
        MapRequest {
            owner: "consumer".to_owned(),
            region: REGION,
            memory: self.memory.clone(),
            offset: 0,
            size: SIZE,
            on_disabled,
            trap: Arc::new(NoTrap),
        }
    }

    /// All of the region, on scripted pages.
    pub(crate) fn map(&self, on_disabled: OnDisabled) -> Mapped {
        self.try_map(self.request(on_disabled)).unwrap()
    }

    pub(crate) fn try_map(&self, request: MapRequest) -> Result<Mapped, MapError> {
        let pages = Script::new();
        let mapping = self.mappings.map_on(request, Arc::new(pages.clone()))?;
        let window = pages.0.window.get().unwrap().clone();
        Ok(Mapped { mapping, pages, window })
    }

    pub(crate) fn close<'t>(&self, token: &'t mut ThreadToken) -> Quiesced<'t> {
        self.gate.close(token, Reason::Reset, ahead()).unwrap()
    }

    /// What a user's COMMAND write does: the bit, then a zap under a closed gate.
    pub(crate) fn enable(&self, token: &mut ThreadToken, enabled: bool) {
        self.enabled.set(enabled);
        let held = self.gate.close_short(token, Reason::Remap, ahead()).unwrap();
        self.mappings.zap(&held);
    }

    pub(crate) fn retire(&self, token: &mut ThreadToken) {
        assert!(self.gate.retire(token, ahead()).orphans.is_empty());
    }
}

/// A mapping on scripted pages.
pub(crate) struct Mapped {
    pub(crate) mapping: Mapping,
    pub(crate) pages: Script,
    window: Weak<Window>,
}

/// What a consumer's load finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The device's memory.
    Device,
    /// A cover.
    AllOnes,
    /// SIGBUS.
    Failed,
    /// Nothing yet: its fault is unanswered.
    Waits,
}

impl Mapped {
    pub(crate) fn window(&self) -> Arc<Window> {
        self.window.upgrade().unwrap()
    }

    pub(crate) fn weak(&self) -> Weak<Window> {
        self.window.clone()
    }

    /// What a load from a page does: faults until it is answered, and each fault is handled at once.
    pub(crate) fn touch(&self, page: u64) -> Found {
        self.pages.touch(&self.window(), page)
    }

    pub(crate) fn state(&self) -> MappingState {
        self.mapping.report().state
    }

    pub(crate) fn read(&self, offset: u64) -> Result<u64, MappingError> {
        elsewhere(|token| self.mapping.read::<u64>(token, offset))
    }
}

/// Pages that keep a record and do as they are told. Clones are the same pages.
#[derive(Clone)]
pub(crate) struct Script(pub(crate) Arc<Scripted>);

type Hook = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(crate) struct Scripted {
    state: Mutex<State>,
    window: OnceLock<Weak<Window>>,
    /// Called in the middle of the next populate, with nothing held.
    pub(crate) during_populate: Mutex<Option<Hook>>,
    pub(crate) populate_fails: Mutex<Option<PagesError>>,
    pub(crate) uncover_fails: AtomicBool,
    pub(crate) populates: AtomicUsize,
    pub(crate) covers: AtomicUsize,
    memory: OnceLock<Real>,
}

#[derive(Default)]
struct State {
    present: BTreeSet<u64>,
    poisoned: BTreeSet<u64>,
    covered: bool,
    /// Pages on which a load is waiting.
    waiting: BTreeSet<u64>,
}

impl Script {
    fn new() -> Script {
        Script(Arc::default())
    }

    /// Runs `hook` in the middle of the next populate.
    pub(crate) fn during_populate(&self, hook: impl FnOnce() + Send + 'static) {
        *self.0.during_populate.lock().unwrap() = Some(Box::new(hook));
    }

    pub(crate) fn fail_populate(&self, error: Option<PagesError>) {
        *self.0.populate_fails.lock().unwrap() = error;
    }

    pub(crate) fn touch(&self, window: &Window, page: u64) -> Found {
        // A load that is woken for nothing tries again; one that is woken for ever is a mistake.
        for _ in 0..100 {
            if let Some(found) = self.load(page) {
                return found;
            }
            elsewhere(|token| window.fault(token, page * PAGE));
            if self.waits(page) {
                return Found::Waits;
            }
        }
        panic!("it is woken again and again, and never answered");
    }

    /// What is there; `None` begins a fault.
    fn load(&self, page: u64) -> Option<Found> {
        let mut state = self.0.state.lock().unwrap();
        if state.covered {
            return Some(Found::AllOnes);
        }
        if state.poisoned.contains(&page) {
            return Some(Found::Failed);
        }
        if state.present.contains(&page) {
            return Some(Found::Device);
        }
        state.waiting.insert(page);
        None
    }

    /// Whether the load from that page is still waiting: nobody has woken it.
    pub(crate) fn waits(&self, page: u64) -> bool {
        self.0.state.lock().unwrap().waiting.contains(&page)
    }

    /// Pages that are present.
    pub(crate) fn present(&self) -> usize {
        self.0.state.lock().unwrap().present.len()
    }

    pub(crate) fn covers(&self) -> usize {
        self.0.covers.load(Ordering::SeqCst)
    }

    pub(crate) fn populates(&self) -> usize {
        self.0.populates.load(Ordering::SeqCst)
    }

    /// The real memory below.
    pub(crate) fn real(&self) -> &Real {
        self.0.memory.get_or_init(Real::new)
    }
}

impl Pages for Script {
    fn attach(&self, window: &Arc<Window>) {
        self.0.window.set(Arc::downgrade(window)).unwrap();
    }

    fn populate(&self, offset: u64) -> Result<(), PagesError> {
        let hook = self.0.during_populate.lock().unwrap().take();
        if let Some(hook) = hook {
            hook();
        }
        self.0.populates.fetch_add(1, Ordering::SeqCst);
        if let Some(error) = *self.0.populate_fails.lock().unwrap() {
            return Err(error);
        }
        let mut state = self.0.state.lock().unwrap();
        if state.covered {
            return Err(PagesError::Replaced);
        }
        let page = offset / PAGE;
        state.poisoned.remove(&page);
        state.present.insert(page);
        state.waiting.remove(&page);
        Ok(())
    }

    fn poison(&self, offset: u64) {
        let mut state = self.0.state.lock().unwrap();
        assert!(!state.covered, "a cover is poisoned");
        let page = offset / PAGE;
        if !state.present.contains(&page) {
            state.poisoned.insert(page);
            self.real().set_accessible(false);
        }
        state.waiting.remove(&page);
    }

    fn zap(&self) {
        let mut state = self.0.state.lock().unwrap();
        state.present.clear();
        state.poisoned.clear();
        self.real().set_accessible(true);
    }

    fn cover(&self) {
        self.0.covers.fetch_add(1, Ordering::SeqCst);
        let mut state = self.0.state.lock().unwrap();
        *state = State { covered: true, ..State::default() };
        self.real().set_accessible(true);
        self.real().fill(u8::MAX);
    }

    fn uncover(&self) -> Result<(), PagesError> {
        if self.0.uncover_fails.load(Ordering::SeqCst) {
            return Err(PagesError::NoMemory);
        }
        let mut state = self.0.state.lock().unwrap();
        assert!(state.covered);
        state.covered = false;
        self.real().fill(DEVICE);
        Ok(())
    }

    fn wake(&self) {
        self.0.state.lock().unwrap().waiting.clear();
    }

    fn base(&self) -> Option<NonNull<u8>> {
        Some(self.real().base)
    }
}

/// What the device's memory has in each byte.
pub(crate) const DEVICE: u8 = 0x5a;

/// Memory that loads and stores really reach, and that really fails: a file that is cut short raises SIGBUS.
pub(crate) struct Real {
    file: OwnedFd,
    pub(crate) base: NonNull<u8>,
}

// SAFETY: plain memory, which no thread owns.
unsafe impl Send for Real {}
// SAFETY: it is accessed by single volatile loads and stores.
unsafe impl Sync for Real {}

impl Real {
    fn new() -> Real {
        use rustix::mm::{MapFlags, ProtFlags, mmap};
        mapping::sigbus::install();
        let file = rustix::fs::memfd_create("scripted", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        rustix::fs::ftruncate(&file, SIZE).unwrap();
        let size = usize::try_from(SIZE).unwrap();
        // SAFETY: a new mapping that nothing else uses.
        let base = unsafe {
            mmap(std::ptr::null_mut(), size, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, &file, 0)
        };
        let real = Real { file, base: NonNull::new(base.unwrap().cast()).unwrap() };
        real.fill(DEVICE);
        real
    }

    /// Whether loads succeed.
    fn set_accessible(&self, accessible: bool) {
        let size = rustix::fs::fstat(&self.file).unwrap().st_size;
        if accessible && size == 0 {
            rustix::fs::ftruncate(&self.file, SIZE).unwrap();
            self.fill(DEVICE);
        }
        if !accessible {
            rustix::fs::ftruncate(&self.file, 0).unwrap();
        }
    }

    /// By the file, since consumers have the mapping.
    fn fill(&self, byte: u8) {
        let bytes = vec![byte; usize::try_from(SIZE).unwrap()];
        assert_eq!(rustix::io::pwrite(&self.file, &bytes, 0).unwrap(), bytes.len());
    }

    pub(crate) fn byte(&self, offset: u64) -> u8 {
        let mut byte = [0];
        rustix::io::pread(&self.file, &mut byte, offset).unwrap();
        byte[0]
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        // SAFETY: nobody has the mapping any more: the pages go last.
        unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), usize::try_from(SIZE).unwrap()).unwrap() };
    }
}

/// For mappings that are not trapped.
struct NoTrap;

impl Trap for NoTrap {
    fn read(
        &self,
        _: &mut ThreadToken,
        _: u32,
        _: u64,
        _: &mut [u8],
        _: Deadline,
    ) -> Result<(), MappingError> {
        panic!("it is not trapped")
    }

    fn write(&self, _: &mut ThreadToken, _: u32, _: u64, _: &[u8], _: Deadline) -> Result<(), MappingError> {
        panic!("it is not trapped")
    }
}
