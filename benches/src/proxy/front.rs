//! The proxy: a remote function, served to one client.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use contain::budget::FreezeBudget;
use gate::{Deadline, Gate, ThreadToken};
use remote::config::{Mode, RemoteConfig};
use remote::{Remote, Told, Watch};
use vfio_user::server::{Server, ServerOptions, Stop};

use crate::pin;

/// How long the end may take.
const END: Duration = Duration::from_secs(10);

/// Says on the standard error stream what must not happen in a benchmark.
struct Complaints;

impl Watch for Complaints {
    fn tell(&self, _token: &mut ThreadToken, told: Told) {
        if let Told::Failed { .. } | Told::Differs { .. } = told {
            eprintln!("bench: the back end was given up: {told:?}");
        }
    }
}

/// A function in front of a back end, and who serves it.
pub(super) struct Front {
    pub(super) socket: PathBuf,
    remote: Arc<Remote>,
    stop: Arc<Stop>,
    serving: Option<JoinHandle<()>>,
}

impl Front {
    /// Puts a function in front of the back end at `upstream`, with all its threads on `cpu`. Those of the caller may go elsewhere
    /// afterwards.
    ///
    /// # Errors
    /// There is no back end, or no function can be made of it.
    pub(super) fn open(
        token: &mut ThreadToken,
        upstream: &Path,
        mode: Mode,
        cpu: usize,
    ) -> Result<Front, Box<dyn Error>> {
        // Inherited by every thread that begins here.
        pin::to_cpu(cpu)?;
        let config = RemoteConfig {
            mode,
            // Killed as often as there are rounds.
            budget: FreezeBudget { max_freezes: 10_000, ..RemoteConfig::new(PathBuf::new()).budget },
            ..RemoteConfig::new(upstream.to_owned())
        };
        let opened = Remote::open(
            token,
            &config,
            Gate::new("front"),
            Arc::new(()),
            Arc::new(Complaints),
            |function| function,
        );
        let (assignment, remote) = opened?;
        let socket = upstream.with_extension("front");
        let server = Server::bind(&socket, assignment, ServerOptions::default())?;
        let stop = Arc::new(Stop::new()?);
        let serving = std::thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                if let Err(error) = server.run(&mut ThreadToken::at_thread_entry(), &stop) {
                    eprintln!("bench: {error}");
                }
            }
        });
        Ok(Front { socket, remote, stop, serving: Some(serving) })
    }

    /// Ends it; its client has left.
    pub(super) fn close(mut self, token: &mut ThreadToken) -> Result<(), Box<dyn Error>> {
        self.stop.stop();
        if let Some(serving) = self.serving.take() {
            serving.join().map_err(|_| "the front panicked")?;
        }
        if self.remote.close(token, Deadline::after(END)) {
            Ok(())
        } else {
            Err("the front does not end".into())
        }
    }
}
