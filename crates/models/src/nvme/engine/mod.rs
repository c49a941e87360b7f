//! The controller's state and what it does with commands: everything but threads, sockets and system calls.
//!
//! The worker calls [`Engine::turn`] under a short pass, again and again; register writes call the methods of
//! [`lifecycle`]. Each call is bounded: a turn takes at most [`BURST`](super::limits::BURST) commands from each queue, and a command that
//! takes long gets a slot and is carried on in later turns. What has to be done outside the lock (starting I/O,
//! signalling, logging) is put into the [`Outbox`].
//!
//! Concurrency: one [`gate::lock::Lock`] per controller around all of it, held by the [`Shared`](super::shared::Shared)
//! state. Rank 55 (`docs/locks.md`): under a gate pass or proof, which are no locks. Looking guest memory up is
//! lock-free. It is held for one turn or one register write, never while waiting, and nothing outside this crate is
//! called under it that could lock, but for looking guest memory up and copying it; and but for who executes commands
//! [elsewhere](super::elsewhere), who takes leaves only.
//!
//! * [`service`]: taking commands from queues;
//! * [`answer`]: posting completions;
//! * [`lifecycle`]: enable, reset, shutdown, register writes;
//! * [`line`]: the level of INTx;
//! * [`slow`]: commands that take longer than a turn;
//! * [`forward`]: commands that are executed elsewhere;
//! * [`preserve`], [`state`]: saving and restoring;
//! * [`halt`]: faults from outside, and what follows a restore.

mod answer;
#[cfg(test)]
mod by_hand;
#[cfg(test)]
mod durability;
mod forward;
mod halt;
mod lifecycle;
mod line;
mod preserve;
mod service;
#[cfg(test)]
mod sleep_and_reset;
mod slow;
mod state;

use std::sync::Arc;

use assign::DmaMap;
use gate::Pass;
use nvme_spec::event::Event;

use super::admin::Admin;
use super::board::Board;
use super::config::InterruptStyle;
use super::io::Io;
use super::outbox::{Note, Outbox};
use super::queues::Queues;
use super::shadow::Shadow;
pub(super) use forward::FABRICS;
pub(super) use halt::Halt;

/// What one call into the engine works with.
pub(super) struct Cx<'a> {
    /// Proof that the function may be used now.
    pub(super) pass: &'a Pass<'a>,
    /// Guest memory.
    pub(super) dma: &'a DmaMap,
    /// Whether the function may reach it.
    pub(super) bus_master: bool,
    /// What is to be done afterwards.
    pub(super) out: &'a mut Outbox,
}

/// How a command went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It succeeded, with this dword 0 of the completion.
    Done(u32),
    /// It is answered later, by whoever keeps its identifier.
    Later,
    /// It waits for an event: it is answered later, and until then takes no room in the completion queue.
    Event,
}

/// Whether commands are processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// CC.EN is 0.
    Disabled,
    /// CSTS.RDY is 1.
    Enabled,
    /// CSTS.CFS is 1: only a reset helps.
    Failed,
    /// CC.EN went to 0, and I/O is still in flight; CSTS.RDY is still 1.
    Resetting,
    /// CC.EN went to 1, and who is to execute the commands is not ready; CSTS.RDY is still 0.
    Starting,
}

/// How far a shutdown has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shutdown {
    /// None was asked for.
    None,
    /// Waits for commands in flight.
    Draining,
    /// The backing is being flushed.
    Flushing,
    /// CSTS.SHST says so.
    Complete,
}

/// The state of a controller; see the module's head.
pub(super) struct Engine {
    pub(super) board: Arc<Board>,
    pub(super) style: InterruptStyle,
    phase: Phase,
    shutdown: Shutdown,
    pub(super) queues: Queues,
    pub(super) admin: Admin,
    pub(super) io: Io,
    pub(super) shadow: Option<Shadow>,
    /// Which queue has the first turn.
    first: usize,
    /// Submission queues that are being deleted.
    pub(super) deleting: usize,
    /// Vectors whose interrupt is held back by INTMS.
    masked_vectors: u128,
    /// Whether INTx is held low.
    hold: line::Hold,
    /// The next turn looks at what is out of the ordinary: a halt, or that the state was saved or restored.
    attention: bool,
    /// Why nothing goes on, if it does not.
    halt: Option<Halt>,
}

impl Engine {
    pub(super) fn new(board: Arc<Board>, style: InterruptStyle, admin: Admin, io: Io) -> Self {
        Self {
            board,
            style,
            phase: Phase::Disabled,
            shutdown: Shutdown::None,
            queues: Queues::default(),
            admin,
            io,
            shadow: None,
            first: 0,
            deleting: 0,
            masked_vectors: 0,
            hold: line::Hold::default(),
            attention: false,
            halt: None,
        }
    }

    /// Does a bounded amount of work; says whether there was any.
    pub(super) fn turn(&mut self, cx: &mut Cx<'_>) -> bool {
        let mut worked = self.absorb(cx.out);
        if self.attention && !self.attend(cx) {
            return worked;
        }
        if self.phase == Phase::Enabled && cx.bus_master {
            worked |= self.post_done(cx);
            if self.io.is_elsewhere() {
                worked |= self.go_on_elsewhere(cx);
            }
            worked |= self.carry_on(cx);
            if self.shutdown == Shutdown::None {
                worked |= self.service(cx);
            }
            worked |= self.finish_deletions(cx);
            worked |= self.report_events(cx);
        }
        worked |= self.carry_shutdown_on(cx.out, true);
        if self.phase == Phase::Enabled {
            self.update_line(cx.out);
        }
        worked
    }

    /// What can be done while the gate is closed: taking in what the ring has finished.
    pub(super) fn take_in(&mut self, out: &mut Outbox) {
        self.absorb(out);
        if self.attention {
            self.follow_back_end(out);
        }
        if self.halt.is_none() {
            self.carry_shutdown_on(out, false);
        }
    }

    /// Whether a turn would find work, asked before parking. Announces in the event index buffer that the next
    /// doorbell is to be written for real.
    pub(super) fn has_work(&mut self, cx: &mut Cx<'_>) -> bool {
        if self.phase != Phase::Enabled || !cx.bus_master {
            return false;
        }
        if self.attention {
            return self.halt.is_none();
        }
        if self.io.has_steps() || self.event_can_be_reported() || self.shutdown_can_go_on() {
            return true;
        }
        self.shutdown == Shutdown::None && self.announce(cx) && self.doorbells_moved(cx)
    }

    /// An impossible doorbell: an event for the host, a line in the log, and nothing else.
    fn bad_doorbell(&mut self, out: &mut Outbox, event: Event) {
        out.note(Note::InvalidDoorbell);
        self.admin.doorbell_fault(event);
    }

    /// The controller cannot go on.
    pub(super) fn fail(&mut self, out: &mut Outbox, note: Note) {
        out.note(note);
        self.phase = Phase::Failed;
        let registers = &self.board.registers;
        registers.set_csts(registers.csts().with_cfs(true));
    }

    /// Facts for an operator.
    pub(super) fn describe(&self) -> Vec<(String, String)> {
        let state = match (self.phase, self.shutdown) {
            (Phase::Enabled, Shutdown::None) => "enabled",
            (Phase::Enabled, Shutdown::Complete) => "shut down",
            (Phase::Enabled, _) => "shutting down",
            (Phase::Disabled, _) => "disabled",
            (Phase::Failed, _) => "failed, waits for a reset",
            (Phase::Resetting, _) => "resetting",
            (Phase::Starting, _) => "waits for the back end",
        };
        let state = self.halt_in_words().unwrap_or(state);
        let (reads, writes) = self.io.health.commands();
        let fact = |name: &str, value: String| (name.to_owned(), value);
        let mut facts = vec![
            fact("controller", state.to_owned()),
            fact("submission queues", self.queues.live_count().to_string()),
            fact("commands in flight", self.io.busy().to_string()),
            fact("reads", reads.to_string()),
            fact("writes", writes.to_string()),
            fact("errors", self.admin.errors.count().to_string()),
            fact("shadow doorbells", if self.shadow.is_some() { "yes" } else { "no" }.to_owned()),
            fact("backing", self.io.describe()),
        ];
        if let Some(away) = self.io.away() {
            // What is read and written is known to the back end.
            facts.retain(|(name, _)| name != "reads" && name != "writes");
            facts.extend(away.describe());
        }
        facts
    }
}
