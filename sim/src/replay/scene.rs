//! What everybody shares: the disk, the guest's pages, the back end of the moment; chance, and the trace.

use std::time::Duration;

use super::disk::{Disk, Process};
use super::server::{Pages, Server};
use crate::cell::Cell;
use crate::random::Random;
use crate::trace::Trace;

/// See the module's head.
pub(super) struct Scene {
    pub(super) world: Cell<World>,
    lines: Cell<Trace>,
}

/// What a step changes.
pub(super) struct World {
    pub(super) random: Random,
    pub(super) disk: Disk,
    pub(super) pages: Pages,
    pub(super) server: Option<Server>,
    /// Number of the next back end.
    pub(super) next: Process,
    /// The back end dies after so many more calls.
    pub(super) dies_after: Option<u32>,
    /// What dead back ends have begun lands soon.
    pub(super) hurries: bool,
    /// The back end does everything at once: somebody waits for it, who would make no steps meanwhile.
    pub(super) eager: bool,
    pub(super) kills: u64,
    pub(super) step: u64,
}

impl World {
    /// The back end is killed. What the kernel has of it stays there.
    pub(super) fn kill(&mut self) {
        self.dies_after = None;
        if self.server.take().is_some() {
            self.kills += 1;
        }
    }

    pub(super) fn run_eagerly(&mut self, server: &mut Server) {
        if !self.eager {
            return;
        }
        // Each command is taken once and completed once; a queue has a bounded number of them.
        loop {
            let took = server.take(&mut self.random, &mut self.disk, &self.pages);
            let wrote = self.disk.nth_of(server.process, 0).and_then(|at| self.disk.land(at));
            if let Some(write) = &wrote {
                server.landed(write);
            }
            let completed = server.complete(&mut self.random, &self.disk, &mut self.pages);
            if !(took || completed || wrote.is_some()) {
                return;
            }
        }
    }
}

impl Scene {
    pub(super) fn new(random: Random, out: Option<fn(&str)>) -> Scene {
        let world = World {
            random,
            disk: Disk::default(),
            pages: Pages::new(),
            server: None,
            next: 0,
            dies_after: None,
            hurries: false,
            eager: false,
            kills: 0,
            step: 0,
        };
        Scene { world: Cell::new(world), lines: Cell::new(Trace::new(out)) }
    }

    pub(super) fn line(&self, text: &str) {
        let step = self.world.with(|world| world.step);
        self.lines.with(|lines| lines.line(step, Duration::ZERO, text));
    }

    pub(super) fn hash_and_last(&self) -> (u64, Vec<String>) {
        self.lines.with(|lines| (lines.hash(), lines.last()))
    }

    /// A number below `end`.
    pub(super) fn below(&self, end: usize) -> usize {
        self.world.with(|world| world.random.below(end))
    }

    pub(super) fn chance(&self, times: u32, of: u32) -> bool {
        self.world.with(|world| world.random.chance(times, of))
    }
}
