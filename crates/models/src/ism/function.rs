//! The function as its gate's owner calls it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gate::{Pass, Quiesced};
use pci_core::{
    BarAccess, BarIndex, BlockRefused, Device, ErrorSign, FaultName, InjectError, Preserve, ResetKind,
};

use super::channels::Channels;
use super::command::Request;
use super::engine::Engine;
use super::execute;
use super::layout::{
    COMMAND, COMMAND_BYTES, MAGIC, MAX_CHANNELS, MAX_DMB_BYTES, MAX_DMBS, Place, Register, STATISTICS,
    VERSION,
};
use super::member::Member;
use super::moves::{self, Load, Refused};
use super::network::Network;
use super::pci::{COMMAND_BAR, WINDOW_BAR};
use super::statistics::Statistic;

/// The faults that it can be made to have.
const FAULTS: &[FaultName] = &[
    FaultName {
        name: ALL_ONES,
        what: "loads give all-ones and stores fail, as behind a dead link, until a reset",
    },
    FaultName { name: DMA_FAULT, what: "a DMA to the signal area is refused" },
];
const ALL_ONES: &str = "all-ones";
const DMA_FAULT: &str = "dma-fault";

/// An ISM-like function.
pub(super) struct Ism {
    pub(super) network: Arc<Network>,
    pub(super) member: Arc<Member>,
    pub(super) channels: Channels,
    pub(super) engine: Engine,
    pub(super) last_refused: AtomicU64,
    /// Somebody asked for the fault [`ALL_ONES`].
    pub(super) unreachable: AtomicBool,
}

impl Ism {
    pub(super) fn new(network: Arc<Network>, member: Arc<Member>) -> Ism {
        let (channels, engine) = (Channels::default(), Engine::default());
        Ism {
            network,
            member,
            channels,
            engine,
            last_refused: AtomicU64::new(0),
            unreachable: AtomicBool::new(false),
        }
    }

    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    pub(super) fn member(&self) -> &Member {
        &self.member
    }

    pub(super) fn channels(&self) -> &Channels {
        &self.channels
    }

    /// The 8 bytes at an offset that is a multiple of 8.
    fn register(&self, offset: u64) -> u64 {
        let Some(register) = Register::at(offset) else {
            let nth = offset.checked_sub(STATISTICS).and_then(|at| usize::try_from(at / 8).ok());
            let statistic = nth.and_then(|nth| Statistic::ALL.get(nth));
            return statistic.map_or(0, |statistic| self.member.statistics.get(*statistic));
        };
        let pair = |low: usize, high: usize| low as u64 | (high as u64) << 32;
        match register {
            Register::Identity => u64::from(MAGIC) | u64::from(VERSION) << 32,
            Register::Gid => self.member.gid(),
            Register::Limits => u64::from(MAX_DMBS) | u64::from(MAX_CHANNELS) << 16 | MAX_DMB_BYTES << 32,
            Register::InUse => pair(self.member.dmbs.count(), self.channels.count()),
            Register::SignalArea => self.member.area(),
            Register::LastRefused => self.last_refused.load(Ordering::Relaxed),
            Register::Answer => self.engine.answer().0,
            Register::AnswerValue => self.engine.answer().1,
        }
    }

    /// A block to BAR 0.
    fn command(&self, pass: &Pass<'_>, offset: u64, data: &[u8]) -> Result<(), BlockRefused> {
        let block: Option<&[u8; COMMAND_BYTES]> = data.try_into().ok().filter(|_| offset == COMMAND);
        let Some(block) = block else {
            self.member.statistics.add(Statistic::RefusedMalformed, 1);
            return Err(BlockRefused::NotAccepted);
        };
        let Some(running) = self.engine.take() else {
            self.member.statistics.add(Statistic::RefusedBusy, 1);
            return Err(BlockRefused::NoResources);
        };
        execute::run(self, pass, running, Request::decode(block));
        Ok(())
    }

    /// A block to the window.
    fn carry(&self, pass: &Pass<'_>, offset: u64, data: &[u8]) -> Result<(), BlockRefused> {
        let Place { channel, offset, signals } = Place::at(offset);
        let carried = match self.channels.get(channel) {
            Some(token) => {
                let load = Load { offset, data, signals };
                moves::carry(&self.network, &self.member, pass, token, load)
            }
            None => {
                self.member.statistics.add(Statistic::RefusedNoChannel, 1);
                Err(Refused::NoChannel)
            }
        };
        carried.map_err(|refused| {
            self.last_refused.store(refused as u64 | u64::from(channel) << 16, Ordering::Relaxed);
            match refused {
                Refused::PeerBlocked => BlockRefused::NoResources,
                _ => BlockRefused::NotAccepted,
            }
        })
    }
}

impl Device for Ism {
    fn bar_access(&self) -> BarAccess {
        BarAccess::BlockStore
    }

    fn read_bar(&self, _pass: &Pass<'_>, bar: BarIndex, offset: u64, data: &mut [u8]) {
        if bar.get() != COMMAND_BAR || self.unreachable.load(Ordering::Relaxed) {
            // Peers are written, never read.
            data.fill(0xff);
            return;
        }
        let mut at = offset;
        let mut rest = data;
        while !rest.is_empty() {
            let bytes = self.register(at & !7).to_le_bytes();
            let bytes = &bytes[(at % 8) as usize..];
            let (now, later) = rest.split_at_mut(bytes.len().min(rest.len()));
            now.copy_from_slice(&bytes[..now.len()]);
            at += now.len() as u64;
            rest = later;
        }
    }

    /// Never called: see [`Device::bar_access`].
    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}

    fn store_block(
        &self,
        pass: &Pass<'_>,
        bar: BarIndex,
        offset: u64,
        data: &[u8],
    ) -> Result<(), BlockRefused> {
        if self.unreachable.load(Ordering::Relaxed) {
            return Err(BlockRefused::NotAccepted);
        }
        match bar.get() {
            COMMAND_BAR => self.command(pass, offset, data),
            WINDOW_BAR => self.carry(pass, offset, data),
            _ => Err(BlockRefused::NotAccepted),
        }
    }

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {
        let Ism { network: _, member, channels, engine, last_refused, unreachable } = self;
        unreachable.store(false, Ordering::Relaxed);
        member.reset();
        channels.clear();
        engine.reset();
        last_refused.store(0, Ordering::Relaxed);
    }

    /// Registers that say what the function is, and what lies beyond the registers.
    fn never_all_ones(&self, bar: BarIndex, offset: u64, length: usize) -> bool {
        let touches = |start: u64, end: u64| offset < end && offset.saturating_add(length as u64) > start;
        bar.get() == COMMAND_BAR
            && [Register::Identity, Register::Limits, Register::InUse]
                .iter()
                .any(|register| touches(*register as u64, *register as u64 + 8))
    }

    fn preserve(&self) -> Option<&dyn Preserve> {
        Some(self)
    }

    fn faults(&self) -> &'static [FaultName] {
        FAULTS
    }

    fn inject(&self, pass: &Pass<'_>, fault: &str) -> Result<(), InjectError> {
        match fault {
            ALL_ONES => self.unreachable.store(true, Ordering::Relaxed),
            DMA_FAULT => self.member.fault(pass.token(), ErrorSign::DmaFault { iova: self.member.area() }),
            _ => return Err(InjectError::Unknown { known: FAULTS }),
        }
        Ok(())
    }

    fn describe(&self) -> Vec<(String, String)> {
        let facts = [
            ("network", self.network.name().to_owned()),
            ("gid", format!("{:#018x}", self.member.gid())),
            ("buffers", self.member.dmbs.count().to_string()),
            ("channels", self.channels.count().to_string()),
        ];
        let counts = Statistic::ALL.map(|statistic| {
            (statistic.name().to_owned(), self.member.statistics.get(statistic).to_string())
        });
        facts.into_iter().map(|(name, value)| (name.to_owned(), value)).chain(counts).collect()
    }
}
