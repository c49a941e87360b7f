//! A function and its consumer, who drives it by loads and blocks.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use assign::{Assignment, Attached, DmaMapFlags, DmaMapRequest, IrqAction, IrqData, SetIrqs};
use gate::{AccessKind, Gate, ThreadToken};
use models::ism::{self, Command, Config, Outcome, Refused, Register, Statistic};
use pci_core::{AccessError, BarIndex, Function};

pub(crate) const CONFIG_REGION: u32 = 7;
/// Where the consumer's memory begins for the device.
pub(crate) const BASE: u64 = 0x10_0000;
pub(crate) const MEMORY: u64 = 1 << 20;
/// Where its signal area is, in its memory.
pub(crate) const AREA: u64 = 0x8_0000;

pub(crate) struct Party {
    pub(crate) assignment: Arc<Assignment>,
    pub(crate) attached: Option<Attached>,
    pub(crate) memory: File,
    event: OwnedFd,
    tag: AtomicU32,
}

pub(crate) fn config(network: &str, gid: u64) -> Config {
    Config { network: network.to_owned(), gid, multi_function: false }
}

impl Party {
    pub(crate) fn new(token: &mut ThreadToken, network: &str, gid: u64) -> Party {
        Party::behind(token, Gate::new("ism"), network, gid)
    }

    /// With memory mapped, bus mastering on and MSI wired.
    pub(crate) fn behind(token: &mut ThreadToken, gate: Gate, network: &str, gid: u64) -> Party {
        let built = ism::build_with(gate, &config(network, gid), Arc::new(()), |function| function);
        let assignment = built.unwrap();
        let attached = assignment.attach(token).unwrap();
        let memory = File::from(rustix::fs::memfd_create("guest", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        memory.set_len(MEMORY).unwrap();
        let event = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).unwrap();
        let data = IrqData::Eventfd(vec![event.try_clone().unwrap()]);
        let wiring = SetIrqs { index: 1, start: 0, count: 1, action: IrqAction::Trigger, data };
        attached.set_irqs(token, wiring).unwrap();
        let party = Party { assignment, attached: Some(attached), memory, event, tag: AtomicU32::new(0) };
        party.map(token, BASE, MEMORY, DmaMapFlags(DmaMapFlags::READ | DmaMapFlags::WRITE));
        party.command_register(token, 6);
        party
    }

    /// The start of the memory, at another address or with other rights.
    pub(crate) fn map(&self, token: &mut ThreadToken, iova: u64, size: u64, flags: DmaMapFlags) {
        let fd = Some(OwnedFd::from(self.memory.try_clone().unwrap()));
        let map = DmaMapRequest { flags, offset: 0, iova, size, fd };
        self.assignment.dma_map(token, map).unwrap();
    }

    /// Writes COMMAND of the configuration space.
    pub(crate) fn command_register(&self, token: &mut ThreadToken, value: u16) {
        self.assignment.region_write(token, CONFIG_REGION, 4, &value.to_le_bytes()).unwrap();
    }

    pub(crate) fn function(&self) -> &Arc<Function> {
        self.assignment.function()
    }

    pub(crate) fn store(
        &self,
        token: &ThreadToken,
        bar: u8,
        offset: u64,
        data: &[u8],
    ) -> Result<(), AccessError> {
        let pass = self.function().handle().try_enter(token, AccessKind::Bar)?;
        self.function().store_block(&pass, BarIndex::new(bar).unwrap(), offset, data)
    }

    pub(crate) fn load(&self, token: &ThreadToken, bar: u8, offset: u64, length: usize) -> Vec<u8> {
        let mut data = vec![0x5a; length];
        let pass = self.function().handle().try_enter(token, AccessKind::Bar).unwrap();
        self.function().load_bar(&pass, BarIndex::new(bar).unwrap(), offset, &mut data).unwrap();
        data
    }

    pub(crate) fn register(&self, token: &ThreadToken, register: Register) -> u64 {
        self.qword(token, register as u64)
    }

    pub(crate) fn qword(&self, token: &ThreadToken, offset: u64) -> u64 {
        u64::from_le_bytes(self.load(token, 0, offset, 8).try_into().unwrap())
    }

    pub(crate) fn statistic(&self, token: &ThreadToken, statistic: Statistic) -> u64 {
        self.qword(token, ism::STATISTICS + 8 * statistic as u64)
    }

    /// All counts that are not 0, but for the commands.
    pub(crate) fn counts(&self, token: &ThreadToken) -> Vec<(&'static str, u64)> {
        let counts = Statistic::ALL.map(|statistic| (statistic.name(), self.statistic(token, statistic)));
        counts.into_iter().filter(|(name, count)| *count != 0 && *name != "commands").collect()
    }

    /// Has a command carried out.
    pub(crate) fn ask(&self, token: &ThreadToken, command: Command) -> Result<u64, Outcome> {
        let tag = self.tag.fetch_add(1, Ordering::Relaxed) + 1;
        self.store(token, 0, ism::COMMAND, &command.encode(tag)).unwrap();
        let answer = self.register(token, Register::Answer);
        assert_eq!(
            (answer as u32, (answer >> 48) as u16),
            (tag, command.code()),
            "the answer is to this command"
        );
        let value = self.register(token, Register::AnswerValue);
        match Outcome::from_code((answer >> 32) as u16).unwrap() {
            Outcome::Done => Ok(value),
            outcome => {
                assert_eq!(value, 0, "{outcome:?} gives nothing back");
                Err(outcome)
            }
        }
    }

    /// Registers `length` bytes at `offset` of the memory for `sender`.
    pub(crate) fn buffer(&self, token: &ThreadToken, offset: u64, length: u64, sender: u64) -> u64 {
        self.ask(token, Command::RegisterDmb { address: BASE + offset, length, sender }).unwrap()
    }

    pub(crate) fn channel(&self, token: &ThreadToken, buffer: u64) -> u16 {
        self.ask(token, Command::OpenChannel { token: buffer }).unwrap() as u16
    }

    pub(crate) fn signal_area(&self, token: &ThreadToken) {
        self.ask(token, Command::SetSignalArea { address: BASE + AREA }).unwrap();
    }

    /// Moves a block; why not, if not.
    pub(crate) fn send(
        &self,
        token: &ThreadToken,
        channel: u16,
        offset: u64,
        signals: bool,
        data: &[u8],
    ) -> Result<(), Refused> {
        let stored = self.store(token, 2, ism::window_offset(channel, offset, signals), data);
        stored.map_err(|_| {
            let last = self.register(token, Register::LastRefused);
            assert_eq!((last >> 16) as u16, channel);
            Refused::from_code(last as u16).unwrap()
        })
    }

    pub(crate) fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        self.memory.read_exact_at(&mut data, offset).unwrap();
        data
    }

    /// The dwords of the signal area that are set.
    pub(crate) fn signalled(&self) -> Vec<usize> {
        let area = self.read(AREA, 256);
        let dwords = area.chunks(4).map(|dword| u32::from_le_bytes(dword.try_into().unwrap()));
        dwords.enumerate().filter(|(_, dword)| *dword != 0).map(|(nth, _)| nth).collect()
    }

    /// Takes the interrupts that have been raised.
    pub(crate) fn interrupted(&self) -> bool {
        rustix::io::read(&self.event, &mut [0; 8]).is_ok()
    }
}
