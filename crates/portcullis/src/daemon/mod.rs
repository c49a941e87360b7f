//! The daemon: plugs what the configuration says, serves it, and ends in an orderly way.
//!
//! [`Daemon::start`] does everything that can be refused before anything is reachable; [`Daemon::drain`] ends it all
//! by a deadline and says what did not end. [`signals`] is how a process is told to.
//!
//! # Concurrency
//! One thread accepts for all slots; a slot has a thread only while it has a client, and one more while it ends, so that
//! no slot waits for another's flush. The control socket has its own threads ([`crate::control::server`]). Nothing here
//! is locked.
//!
//! # The order of the end
//! The control socket first, so that nobody holds a function any more but its slot. Then every slot at once: no new
//! client, the session ends, the gate is retired, the device is dropped, which flushes its backing, and the socket is
//! gone.

mod machine;
mod operator;
pub mod signals;
mod slot;
mod watchdog;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};

use assign::{Assignment, EventSink};
use gate::waits::Waiting;
use gate::{Deadline, ThreadToken};
use pci_spec::Bdf;
use vfio_user::server::{Server, Stop};

use crate::config::{Config, Diagnostic, Diagnostics, SlotConfig};
use crate::control::server::ControlServer;
use crate::events::Journal;
use crate::run_dir::RunDir;
use machine::{Machine, MachineError};
use operator::DaemonOperator;
pub use slot::Slot;
use watchdog::WatchdogThread;

/// How long a start that has failed may take to clean up.
const TAKE_DOWN: std::time::Duration = std::time::Duration::from_secs(4);

/// A daemon that serves.
pub struct Daemon {
    run_dir: RunDir,
    slots: Arc<[Slot]>,
    machine: Arc<Machine>,
    control: ControlServer,
    /// Until the end, so that an end that hangs is told too.
    watchdog: Option<WatchdogThread>,
    stop: Stop,
    /// Set before `stop` is thrown: by when the slots are to have ended.
    deadline: Arc<OnceLock<Deadline>>,
    ended: Receiver<Ended>,
}

/// A slot is over.
struct Ended {
    slot: String,
    /// What was still in use, in words.
    left_over: Vec<String>,
}

impl Daemon {
    /// Plugs and serves everything in `config`. Either all of it is served, or nothing is and all complaints are
    /// returned.
    ///
    /// # Errors
    /// What could not be plugged and why, with the place in the configuration.
    pub fn start(
        token: &mut ThreadToken,
        config: Config,
        run_dir: RunDir,
        journal: &Arc<Journal>,
    ) -> Result<Self, Diagnostics> {
        let (machine, plugged) = plug(token, config.slots, &run_dir, journal)?;
        let machine = Arc::new(machine);
        let (slots, servers): (Vec<_>, Vec<_>) = plugged.into_iter().unzip();
        let slots: Arc<[Slot]> = slots.into();
        let operator = DaemonOperator::new(Arc::clone(&slots), Arc::clone(&machine), Arc::clone(journal));
        let stop = Stop::new().map_err(|errno| system("cannot make an event", &errno))?;
        let control = ControlServer::start(&run_dir.control_socket(), Arc::new(operator))
            .map_err(|error| system("cannot serve the control socket", &error))?;
        let (sender, ended) = channel();
        let deadline = Arc::new(OnceLock::new());
        let ending = |slot: &Slot| Ending {
            slot: slot.config.name.clone(),
            address: slot.config.address,
            machine: Arc::clone(&machine),
            assignment: Arc::clone(&slot.assignment),
            deadline: Arc::clone(&deadline),
            ended: sender.clone(),
        };
        let acceptor = Acceptor { servers, endings: slots.iter().map(ending).collect(), stop: stop.clone() };
        spawn("acceptor", move || acceptor.run())?;
        let watchdog = config.watchdog.threshold.map(WatchdogThread::start).transpose();
        let watchdog = watchdog.map_err(|error| system("cannot start a thread", &error))?;
        Ok(Self { run_dir, slots, machine, control, watchdog, stop, deadline, ended })
    }

    /// What is served.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Every socket file, for a forced end that has no time to close them one by one.
    pub fn sockets(&self) -> Vec<PathBuf> {
        let slots = self.slots.iter().map(|slot| slot.socket.clone());
        slots.chain([self.run_dir.control_socket()]).collect()
    }

    /// Ends everything by `deadline` and returns what did not end, in words; nothing if all is flushed and gone.
    pub fn drain(self, token: &mut ThreadToken, deadline: Deadline) -> Vec<String> {
        let Self { run_dir, slots, machine, control, watchdog, stop, deadline: shared, ended } = self;
        let mut waiting: Vec<String> = slots.iter().map(|slot| slot.config.name.clone()).collect();
        let mut left_over = Vec::new();
        if !control.stop(token, deadline) {
            left_over.push(String::from("a control request is still being carried out"));
        }
        drop(slots);
        // Set once, here: `drain` consumes the daemon.
        let _ = shared.set(deadline);
        stop.stop();
        while !waiting.is_empty() {
            match wait_for_end(token, &ended, deadline) {
                Some(end) => {
                    waiting.retain(|slot| *slot != end.slot);
                    left_over.extend(end.left_over.into_iter().map(|what| format!("{}: {what}", end.slot)));
                }
                None => break,
            }
        }
        left_over.extend(
            waiting.into_iter().map(|slot| format!("{slot}: did not end in time; it may not be flushed")),
        );
        machine.take_down(token, deadline);
        drop(watchdog);
        drop(run_dir);
        left_over
    }
}

/// Builds the machine and everything in it. Either all of it is there, or nothing is left and all complaints are returned.
fn plug(
    token: &mut ThreadToken,
    slots: Vec<SlotConfig>,
    run_dir: &RunDir,
    journal: &Arc<Journal>,
) -> Result<(Machine, Vec<(Slot, Server)>), Diagnostics> {
    let addresses: Vec<Bdf> = slots.iter().map(|slot| slot.address).collect();
    let unfit = |error: MachineError| {
        let fix = "change the addresses of the slots: each device needs a function 0";
        Diagnostics::one(Diagnostic::new(None, error.to_string(), fix))
    };
    let events: Arc<dyn EventSink> = Arc::clone(journal) as _;
    let mut machine = Machine::new(token, &addresses, &events).map_err(unfit)?;
    let mut plugged = Vec::new();
    let mut complaints = Vec::new();
    for mut slot in slots {
        let device = |at: Bdf| (at.segment(), at.bus(), at.device());
        let beside = addresses.iter().filter(|at| device(**at) == device(slot.address)).count();
        if beside > 1 {
            slot.device.stands_beside_others();
        }
        match Slot::plug(slot, &mut machine, run_dir, journal) {
            Ok(slot) => plugged.push(slot),
            Err(complaint) => complaints.push(complaint),
        }
    }
    let whole = if complaints.is_empty() {
        machine.scan(token, &addresses).map_err(unfit)
    } else {
        Err(Diagnostics(complaints))
    };
    if let Err(complaints) = whole {
        machine.take_down(token, Deadline::after(TAKE_DOWN));
        return Err(complaints);
    }
    Ok((machine, plugged))
}

fn wait_for_end(token: &mut ThreadToken, ended: &Receiver<Ended>, deadline: Deadline) -> Option<Ended> {
    let _shown = Waiting::new(token, "stop", None, "the slots to end");
    ended.recv_timeout(deadline.remaining()?).ok()
}

fn system(what: &str, error: &dyn std::fmt::Display) -> Diagnostics {
    let fix = "the system is out of a resource (descriptors, memory, threads); raise its limit";
    Diagnostics::one(Diagnostic::new(None, format!("{what}: {error}"), fix))
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<(), Diagnostics> {
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    spawned.map(drop).map_err(|error| system("cannot start a thread", &error))
}

/// What the accepting thread owns.
struct Acceptor {
    servers: Vec<Server>,
    endings: Vec<Ending>,
    stop: Stop,
}

impl Acceptor {
    fn run(self) {
        let Self { servers, endings, stop } = self;
        let mut token = ThreadToken::at_thread_entry();
        let failure = Server::run_all(&servers, &mut token, &stop).err();
        if let Some(error) = &failure {
            tracing::error!("the slots are no longer served: {error}");
        }
        drop(servers);
        drop(token);
        let failure = failure.map(|error| format!("was not served any more: {error}"));
        for ending in endings {
            let (name, failure) = (format!("end-{}", ending.slot), failure.clone());
            // The drain says of a slot that never reported that it did not end.
            let _ = spawn(&name, move || ending.run(failure));
        }
    }
}

/// The end of one slot, once no session has it any more.
struct Ending {
    slot: String,
    address: Bdf,
    machine: Arc<Machine>,
    assignment: Arc<Assignment>,
    deadline: Arc<OnceLock<Deadline>>,
    ended: Sender<Ended>,
}

impl Ending {
    fn run(self, failure: Option<String>) {
        let Self { slot, address, machine, assignment, deadline, ended } = self;
        let mut token = ThreadToken::at_thread_entry();
        let mut left_over = Vec::from_iter(failure);
        // Without a deadline the acceptor failed by itself; then nobody waits, but nothing waits for ever either.
        let deadline =
            deadline.get().copied().unwrap_or_else(|| Deadline::after(std::time::Duration::from_secs(4)));
        let retired = assignment.function().gate().retire(&mut token, deadline);
        left_over.extend(retired.orphans.iter().map(|orphan| format!("still in use: {orphan}")));
        machine.unplug(&mut token, address, deadline);
        drop(machine);
        // Dropping the last reference ends the device, which flushes its backing.
        if Arc::into_inner(assignment).is_none() && left_over.is_empty() {
            left_over.push(String::from("the device is still in use and was not flushed"));
        }
        // Nobody listens if the daemon has given up waiting.
        let _ = ended.send(Ended { slot, left_over });
    }
}
