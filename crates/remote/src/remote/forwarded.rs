//! The front of the modes `passthrough` and `reset`: registers, memory and interrupts are the back end's.

use std::sync::Arc;
use std::time::Duration;

use assign::Assignment;
use gate::lock::Leaf;
use gate::{Deadline, ThreadToken};
use pci_core::Function;

use super::error::OpenError;
use super::front::{Front, Replayed, Trouble};
use super::place::Place;
use super::served::Served;
use crate::config::{Mode, RemoteConfig};
use crate::fence::{Fence, Fenced, OldServer};
use crate::forward::{self, Forward, ForwardConfig};
use crate::link::{Commands, Link, LinkError};
use crate::picture::Picture;
use crate::ranks;
use crate::relay::dma::Dma;
use crate::relay::interrupts::Interrupts;

/// How long a back end may take to say all it is.
const PICTURE_LIMIT: Duration = Duration::from_secs(10);

/// See the module's head.
pub(super) struct ForwardFront {
    forward: Arc<Forward>,
    dma: Arc<Dma>,
    interrupts: Arc<Interrupts>,
    served: Arc<Served>,
    /// What the consumer was shown.
    picture: Picture,
    /// Rank: 105, back end's life; a leaf, held to put it down and to take it: what the back end that was checked last is.
    now: Leaf<ranks::Life, Option<Picture>>,
}

impl ForwardFront {
    /// Makes a function that looks like what is behind `link`, and forwards to it.
    ///
    /// # Errors
    /// [`OpenError`]; the link is not used any more then.
    pub(super) fn open(
        token: &mut ThreadToken,
        config: &RemoteConfig,
        link: &Arc<Link>,
        server: &Arc<OldServer>,
        served: Arc<Served>,
        place: Place<impl FnOnce(Function) -> Function>,
    ) -> Result<(Arc<Assignment>, ForwardFront), OpenError> {
        let picture = Picture::take(token, &**link, Deadline::after(PICTURE_LIMIT))?;
        let Place { gate, events, placed } = place;
        let name = gate.name().to_owned();
        let forwarded = ForwardConfig {
            pass_on_memory: config.mode == Mode::Passthrough,
            accept_unsealed: config.accept_unsealed,
        };
        let (assignment, forward) = forward::build(gate, &forwarded, &picture, events, placed)?;
        let dma = Dma::follow(assignment.port()).ok_or(OpenError::Taken)?;
        let interrupts = Interrupts::follow(&name, assignment.port())?;
        served.serve(&dma);
        let now = Leaf::new(None);
        let front = ForwardFront { forward, dma, interrupts, served, picture, now };
        match front.attach(token, link, server, &front.picture) {
            Ok(()) => Ok((assignment, front)),
            Err(trouble) => {
                front.detach(token);
                front.interrupts.close();
                Err(OpenError::NotSetUp(trouble))
            }
        }
    }

    /// Memory and interrupts first: the device is reset, and then it may use them.
    fn attach(
        &self,
        token: &mut ThreadToken,
        link: &Arc<Link>,
        server: &Arc<OldServer>,
        now: &Picture,
    ) -> Result<(), String> {
        let fence = Arc::clone(server) as Arc<dyn Fence>;
        // What an earlier connection left the device doing ends here, before it reaches the consumer's memory again. One that
        // cannot be reset says so, and is reset by its registers later.
        match link.reset(token) {
            Ok(()) | Err(LinkError::Refused { .. }) => {}
            Err(error) => return Err(error.to_string()),
        }
        self.dma.attach(token, Arc::clone(link) as _, fence).map_err(|error| error.to_string())?;
        self.interrupts.attach(token, Arc::clone(link) as _).map_err(|error| error.to_string())?;
        self.forward.attach(Arc::clone(link) as _, now);
        Ok(())
    }
}

impl Front for ForwardFront {
    fn commands(&self) -> Arc<dyn Commands> {
        Arc::clone(&self.served) as _
    }

    fn detach(&self, _token: &mut ThreadToken) {
        self.forward.detach();
        self.interrupts.detach();
        self.dma.detach();
    }

    fn check(&self, token: &mut ThreadToken, link: &Arc<Link>) -> Result<(), Trouble> {
        let now = Picture::take(token, &**link, Deadline::after(PICTURE_LIMIT));
        let now = now.map_err(|error| Trouble::Broken(error.to_string()))?;
        let differences = self.picture.compare(&now).into_iter().chain(self.forward.in_use());
        let differences: Vec<String> = differences.map(|difference| difference.to_string()).collect();
        if !differences.is_empty() {
            return Err(Trouble::Differs(differences));
        }
        let before = self.now.lock().replace(now);
        drop(before);
        Ok(())
    }

    fn replay(
        &self,
        token: &mut ThreadToken,
        link: &Arc<Link>,
        server: &Arc<OldServer>,
        _fenced: Fenced,
    ) -> Result<Replayed, Trouble> {
        let now = self.now.lock().take();
        let now = now.ok_or_else(|| Trouble::Broken(String::from("it was not looked at")))?;
        self.attach(token, link, server, &now).map_err(Trouble::Broken)?;
        Ok(Replayed::default())
    }

    fn give_up(&self, _token: &mut ThreadToken, _alive: bool) {}

    fn close(&self) {
        self.interrupts.close();
    }

    fn in_flight(&self) -> usize {
        0
    }

    fn left_out(&self) -> Vec<String> {
        let memory = self.forward.left_out();
        self.picture.left_out().iter().cloned().chain(memory).collect()
    }
}
