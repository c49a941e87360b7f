//! An endpoint-test function with a consumer, and faults between them.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use assign::{Assignment, Attached, DmaMapFlags, DmaMapRequest, IrqAction, IrqData, RequestError, SetIrqs};
use gate::ThreadToken;
use models::endpoint::{self, Config};
use remote::inject::{Injections, Listed, RuleId};

pub(crate) const CONFIG_REGION: u32 = 7;
pub(crate) const HISTORY: u32 = 9;
pub(crate) const COMMAND: u64 = 0x04;
pub(crate) const STATUS: u64 = 0x08;
pub(crate) const DESTINATION: u64 = 0x14;
pub(crate) const SIZE: u64 = 0x1c;
pub(crate) const INTERRUPT_TYPE: u64 = 0x24;
pub(crate) const INTERRUPT_NUMBER: u64 = 0x28;
pub(crate) const RAISE_INTX: u32 = 1 << 0;
pub(crate) const RAISE_MSI: u32 = 1 << 1;
pub(crate) const WRITE: u32 = 1 << 4;
pub(crate) const MEMORY_AT: u64 = 0x10_0000;
const MEMORY: u64 = 1 << 20;
pub(crate) const SEED: u64 = 1;
/// How long anything may take that takes no time.
pub(crate) const LONG: Duration = Duration::from_secs(60);

pub(crate) struct Bench {
    pub(crate) assignment: Arc<Assignment>,
    pub(crate) attached: Attached,
    pub(crate) injections: Arc<Injections>,
    pub(crate) token: ThreadToken,
}

impl Bench {
    pub(crate) fn new() -> Bench {
        Bench::named("test")
    }

    /// The same, with a name for its thread.
    pub(crate) fn named(name: &str) -> Bench {
        let injections = Injections::new(name, SEED);
        let bench = Bench { injections, ..Bench::without_faults() };
        assert!(bench.injections.attach(bench.assignment.function(), bench.assignment.port()));
        bench
    }

    /// Nothing is between the function and its consumer yet.
    pub(crate) fn without_faults() -> Bench {
        let mut token = ThreadToken::at_thread_entry();
        let assignment = endpoint::build("test", &Config::default(), Arc::new(())).unwrap();
        let attached = assignment.attach(&mut token).unwrap();
        let memory = File::from(rustix::fs::memfd_create("guest", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        memory.set_len(MEMORY).unwrap();
        let flags = DmaMapFlags(DmaMapFlags::READ | DmaMapFlags::WRITE);
        let fd = Some(OwnedFd::from(memory));
        let map = DmaMapRequest { flags, offset: 0, iova: MEMORY_AT, size: MEMORY, fd };
        attached.dma_map(&mut token, map).unwrap();
        let injections = Injections::new("test", SEED);
        let mut bench = Bench { assignment, attached, injections, token };
        bench.write(CONFIG_REGION, 4, &0x0006_u16.to_le_bytes());
        bench
    }

    pub(crate) fn inject(&mut self, rule: &str) -> RuleId {
        self.injections.add(&mut self.token, rule.parse().unwrap()).unwrap()
    }

    pub(crate) fn rule(&self, id: RuleId) -> Listed {
        self.injections.list().into_iter().find(|rule| rule.id == id).unwrap()
    }

    pub(crate) fn write(&mut self, region: u32, offset: u64, data: &[u8]) {
        self.attached.region_write(&mut self.token, region, offset, data).unwrap();
    }

    pub(crate) fn set(&mut self, offset: u64, value: u32) {
        self.write(0, offset, &value.to_le_bytes());
    }

    pub(crate) fn try_read(&mut self, region: u32, offset: u64) -> Result<u32, RequestError> {
        let mut data = [0; 4];
        self.attached.region_read(&mut self.token, region, offset, &mut data)?;
        Ok(u32::from_le_bytes(data))
    }

    pub(crate) fn read(&mut self, region: u32, offset: u64) -> u32 {
        self.try_read(region, offset).unwrap()
    }

    pub(crate) fn get(&mut self, offset: u64) -> u32 {
        self.read(0, offset)
    }

    /// Runs a command and tells its status.
    pub(crate) fn run(&mut self, command: u32) -> u32 {
        self.set(COMMAND, command);
        self.get(STATUS)
    }

    /// Wires `count` eventfds to an index: 0 INTx, 1 MSI.
    pub(crate) fn wire(&mut self, index: u32, count: u32) -> Vec<Counter> {
        let flags = rustix::event::EventfdFlags::NONBLOCK;
        let events: Vec<_> = (0..count).map(|_| rustix::event::eventfd(0, flags).unwrap()).collect();
        let data = IrqData::Eventfd(events.iter().map(|event| event.try_clone().unwrap()).collect());
        let request = SetIrqs { index, start: 0, count, action: IrqAction::Trigger, data };
        self.attached.set_irqs(&mut self.token, request).unwrap();
        events.into_iter().map(Counter).collect()
    }

    pub(crate) fn unmask_intx(&mut self) {
        let request =
            SetIrqs { index: 0, start: 0, count: 1, action: IrqAction::Unmask, data: IrqData::None };
        self.attached.set_irqs(&mut self.token, request).unwrap();
    }
}

/// An eventfd.
pub(crate) struct Counter(OwnedFd);

impl Counter {
    /// How often it was signalled since the last look.
    pub(crate) fn take(&self) -> u64 {
        let mut count = [0; 8];
        rustix::io::read(&self.0, &mut count).map_or(0, |_| u64::from_ne_bytes(count))
    }
}

pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::yield_now();
    }
}

/// Whether a thread of this process has that name, as the kernel cuts it.
pub(crate) fn has_thread(name: &str) -> bool {
    let threads = std::fs::read_dir("/proc/self/task").unwrap();
    threads.filter_map(Result::ok).any(|thread| {
        std::fs::read_to_string(thread.path().join("comm")).is_ok_and(|comm| comm.trim() == name)
    })
}
