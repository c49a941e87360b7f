//! The function as its gate's owner calls it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gate::{Pass, Quiesced};
use pci_core::{BarAccess, BarIndex, BlockRefused, Device, ResetKind};

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

/// An ISM-like function.
pub(super) struct Ism {
    network: Arc<Network>,
    member: Arc<Member>,
    channels: Channels,
    engine: Engine,
    last_refused: AtomicU64,
}

impl Ism {
    pub(super) fn new(network: Arc<Network>, member: Arc<Member>) -> Ism {
        let (channels, engine) = (Channels::default(), Engine::default());
        Ism { network, member, channels, engine, last_refused: AtomicU64::new(0) }
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
        if bar.get() != COMMAND_BAR {
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
        match bar.get() {
            COMMAND_BAR => self.command(pass, offset, data),
            WINDOW_BAR => self.carry(pass, offset, data),
            _ => Err(BlockRefused::NotAccepted),
        }
    }

    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {
        let Ism { network: _, member, channels, engine, last_refused } = self;
        member.reset();
        channels.clear();
        engine.reset();
        last_refused.store(0, Ordering::Relaxed);
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
