//! The daemon: slots with what the configuration says in them, served, and ended in an orderly way.
//!
//! [`Daemon::start`] does everything that can be refused before anything is reachable; [`Daemon::drain`] ends it all
//! by a deadline and says what did not end. [`signals`] is how a process is told to.
//!
//! * `slot`: one slot and its controller; `requests`, `plug_in`: what operators ask of it; `slot_words` says it for people.
//! * `place`, `port`, `consumer`: what a slot is made of: the places of its functions, its hardware, who uses them.
//! * `machine`: the segments, ports, resets and power around the slots. `build`: from a description to a device.
//! * `zpci`: the s390 view of it all. `containment`: errors, freezes and recoveries. `vms`: virtual machines by their monitors. `operations`: what takes its time.
//!
//! # Concurrency
//! One thread accepts for all places; a place has a thread for each client, a slot has one while it is busy, and one more
//! waits for their timers, so that no slot waits for another. The control socket has its own threads
//! ([`crate::control::server`]). Locks are leaves, for lists.
//!
//! # The order of the end
//! The control socket first, so that nobody asks for anything any more; then recoveries from errors. Then no new client, and the sessions end. Then every
//! slot at once: its gates are retired, its devices are dropped, which flushes their backings, and the sockets are gone.

mod back_end;
mod build;
mod consumer;
mod containment;
mod image;
mod machine;
mod operations;
mod operator;
mod place;
mod plug_in;
mod port;
mod requests;
pub mod signals;
mod slot;
mod slot_words;
mod start;
mod vms;
mod watchdog;
mod zpci;

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};

use ::slot::Threads;
use ::zpci::Subscription;
use gate::waits::Waiting;
use gate::{Deadline, ThreadToken};
use vfio_user::server::{Server, Stop};

use crate::config::{Config, Diagnostic, Diagnostics};
use crate::control::server::ControlServer;
use crate::events::Journal;
use crate::run_dir::RunDir;
use containment::Keeper;
use machine::Machine;
use operations::Operations;
use operator::DaemonOperator;
pub use place::Place;
pub use slot::Slot;
use vms::Vms;
use watchdog::WatchdogThread;

/// How long a start that has failed may take to clean up.
const TAKE_DOWN: std::time::Duration = std::time::Duration::from_secs(4);

/// A daemon that serves.
pub struct Daemon {
    run_dir: RunDir,
    slots: Arc<[Slot]>,
    machine: Arc<Machine>,
    keeper: Keeper,
    vms: Arc<Vms>,
    /// The journal hears the events of the s390 view.
    listening: Subscription,
    crew: Arc<Threads>,
    journal: Arc<Journal>,
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
        let started = start::slots(token, config.slots, &config.containment, &run_dir, journal)?;
        let start::Started { machine, contained, zpci, slots, vms, crew, listening } = started;
        let operations = Arc::new(Operations::default());
        let operator = DaemonOperator::new(
            Arc::clone(&slots),
            Arc::clone(&machine),
            Arc::clone(&contained),
            zpci,
            Arc::clone(journal),
            operations,
            Arc::clone(&vms),
        );
        let stop = Stop::new().map_err(|errno| system("cannot make an event", &errno))?;
        let control = ControlServer::start(&run_dir.control_socket(), Arc::new(operator))
            .map_err(|error| system("cannot serve the control socket", &error))?;
        let (sender, ended) = channel();
        let deadline = Arc::new(OnceLock::new());
        let servers = slots.iter().flat_map(|slot| slot.places.iter().map(|place| Arc::clone(&place.server)));
        let acceptor = Acceptor {
            servers: servers.collect(),
            slots: Arc::clone(&slots),
            deadline: Arc::clone(&deadline),
            ended: sender,
            stop: stop.clone(),
        };
        spawn("acceptor", move || acceptor.run())?;
        let watchdog = config.watchdog.threshold.map(WatchdogThread::start).transpose();
        let watchdog = watchdog.map_err(|error| system("cannot start a thread", &error))?;
        let keeper = Keeper::start(&contained).map_err(|error| system("cannot start a thread", &error))?;
        let journal = Arc::clone(journal);
        Ok(Self {
            run_dir,
            slots,
            machine,
            keeper,
            vms,
            listening,
            crew,
            journal,
            control,
            watchdog,
            stop,
            deadline,
            ended,
        })
    }

    /// What is served, or would be: the places of all slots.
    pub fn places(&self) -> Vec<Arc<Place>> {
        self.slots.iter().flat_map(|slot| slot.places.iter().cloned()).collect()
    }

    /// Every socket file, for a forced end that has no time to close them one by one.
    pub fn sockets(&self) -> Vec<PathBuf> {
        let places = self.slots.iter().flat_map(|slot| slot.places.iter());
        places.map(|place| place.socket.clone()).chain([self.run_dir.control_socket()]).collect()
    }

    /// Ends everything by `deadline` and returns what did not end, in words; nothing if all is flushed and gone.
    pub fn drain(self, token: &mut ThreadToken, deadline: Deadline) -> Vec<String> {
        let Self {
            run_dir,
            slots,
            machine,
            keeper,
            vms,
            listening,
            crew,
            journal,
            control,
            watchdog,
            stop,
            deadline: shared,
            ended,
        } = self;
        let mut waiting: Vec<String> = slots.iter().map(|slot| slot.name().to_owned()).collect();
        let mut left_over = Vec::new();
        // Whoever follows the events or waits for a virtual machine ends at once, and does not hold up the rest.
        journal.end();
        vms.end();
        if !control.stop(token, deadline) {
            left_over.push(String::from("a control request is still being carried out"));
        }
        // Whatever fails from here on is not recovered any more: it all ends.
        if !keeper.stop(token, deadline) {
            left_over.push(String::from("a recovery from an error has not ended"));
        }
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
        if !crew.stop(token, deadline) {
            left_over.push(String::from("a call of a driver or a consumer has not come back"));
        }
        machine.take_down(token, deadline);
        // Whoever has served them may still be about to let them go.
        for place in slots.iter().flat_map(|slot| slot.places.iter()) {
            let _ = std::fs::remove_file(&place.socket);
        }
        drop(listening);
        drop(slots);
        drop(watchdog);
        drop(run_dir);
        left_over
    }
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
    servers: Vec<Arc<Server>>,
    slots: Arc<[Slot]>,
    deadline: Arc<OnceLock<Deadline>>,
    ended: Sender<Ended>,
    stop: Stop,
}

impl Acceptor {
    fn run(self) {
        let Self { servers, slots, deadline, ended, stop } = self;
        let mut token = ThreadToken::at_thread_entry();
        let failure = Server::run_all(&servers, &mut token, &stop).err();
        if let Some(error) = &failure {
            tracing::error!("the slots are no longer served: {error}");
        }
        drop(servers);
        drop(token);
        let failure = failure.map(|error| format!("was not served any more: {error}"));
        // Without a deadline the acceptor failed by itself; then nobody waits, but nothing waits for ever either.
        let deadline = deadline.get().copied().unwrap_or_else(|| Deadline::after(TAKE_DOWN));
        for (index, slot) in slots.iter().enumerate() {
            let (slots, ended, failure) = (Arc::clone(&slots), ended.clone(), failure.clone());
            // The drain says of a slot that never reported that it did not end.
            let _ = spawn(&format!("end-{}", slot.name()), move || {
                end_slot(&slots, index, deadline, &ended, failure);
            });
        }
    }
}

/// The end of one slot, once no session has it any more.
fn end_slot(
    slots: &Arc<[Slot]>,
    index: usize,
    deadline: Deadline,
    ended: &Sender<Ended>,
    failure: Option<String>,
) {
    let Some(slot) = slots.get(index) else { return };
    let mut token = ThreadToken::at_thread_entry();
    let mut left_over = Vec::from_iter(failure);
    left_over.extend(slot.end(&mut token, deadline));
    // Nobody listens if the daemon has given up waiting.
    let _ = ended.send(Ended { slot: slot.name().to_owned(), left_over });
}
