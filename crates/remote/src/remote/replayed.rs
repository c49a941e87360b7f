//! The front of mode `replay`: a controller of our own, whose commands the back end executes.

use std::sync::Arc;

use assign::Assignment;
use gate::ThreadToken;
use models::nvme::elsewhere::Elsewhere;
use pci_core::Function;

use super::error::OpenError;
use super::front::{Front, Replayed, Trouble};
use super::place::Place;
use super::served::Served;
use crate::config::RemoteConfig;
use crate::fence::{Fence, Fenced, OldServer};
use crate::link::{Commands, Link};
use crate::nvme::{BringUpError, Driver, Options, Wire};
use crate::relay::dma::Dma;

/// See the module's head.
pub(super) struct ReplayFront {
    driver: Arc<Driver>,
    dma: Arc<Dma>,
    served: Arc<Served>,
}

impl ReplayFront {
    /// Takes the controller behind `link` into use, and puts one of our own before it.
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
    ) -> Result<(Arc<Assignment>, ReplayFront), OpenError> {
        let options = Options { queues: config.queues, ..Options::default() };
        let wire = Arc::clone(link) as Arc<dyn Wire>;
        let driver = Driver::open(token, wire, options)?;
        let Place { gate, events, placed } = place;
        let elsewhere = Arc::clone(&driver) as Arc<dyn Elsewhere>;
        let built = models::nvme::build_elsewhere(gate, &config.nvme, elsewhere, events, placed);
        let opened = built.map_err(OpenError::Build).and_then(|assignment| {
            let dma = Dma::follow(assignment.port()).ok_or(OpenError::Taken)?;
            let (iova, size) = driver.window();
            dma.reserve(iova, size).map_err(|_| OpenError::Taken)?;
            Ok((assignment, dma))
        });
        let front = opened.map(|(assignment, dma)| {
            served.serve(&dma);
            (assignment, ReplayFront { driver: Arc::clone(&driver), dma, served })
        });
        let attached = front.and_then(|(assignment, front)| {
            front.attach(token, link, server).map_err(OpenError::Memory)?;
            Ok((assignment, front))
        });
        if attached.is_err() {
            driver.lost();
        }
        attached
    }

    fn attach(
        &self,
        token: &mut ThreadToken,
        link: &Arc<Link>,
        server: &Arc<OldServer>,
    ) -> Result<(), crate::relay::dma::ReplayError> {
        let fence = Arc::clone(server) as Arc<dyn Fence>;
        let attached = self.dma.attach(token, Arc::clone(link) as _, fence);
        if attached.is_err() {
            self.dma.detach();
        }
        attached
    }
}

impl Front for ReplayFront {
    fn commands(&self) -> Arc<dyn Commands> {
        Arc::clone(&self.served) as _
    }

    fn detach(&self, _token: &mut ThreadToken) {
        self.driver.lost();
        self.dma.detach();
    }

    /// What it is, it says itself when it is brought up, before it is given any command of the guest's.
    fn check(&self, _token: &mut ThreadToken, _link: &Arc<Link>) -> Result<(), Trouble> {
        Ok(())
    }

    fn replay(
        &self,
        token: &mut ThreadToken,
        link: &Arc<Link>,
        server: &Arc<OldServer>,
        fenced: Fenced,
    ) -> Result<Replayed, Trouble> {
        let memory = |token: &mut ThreadToken| {
            self.attach(token, link, server).map_err(|error| BringUpError::GuestMemory(error.to_string()))
        };
        match self.driver.bring_up_with(token, Arc::clone(link) as _, fenced, memory) {
            Ok(replayed) => Ok(Replayed {
                re_executed: u64::from(replayed.re_executed),
                refused: u64::from(replayed.refused),
            }),
            Err(BringUpError::Differs(differences)) => {
                Err(Trouble::Differs(differences.iter().map(ToString::to_string).collect()))
            }
            Err(error) if error.is_permanent() => Err(Trouble::Differs(vec![error.to_string()])),
            Err(error) => Err(Trouble::Broken(error.to_string())),
        }
    }

    /// A guest that resets its controller need not wait for anybody any more, unless somebody may still write to its memory.
    fn give_up(&self, _token: &mut ThreadToken, alive: bool) {
        if !alive {
            self.driver.fenced();
        }
    }

    fn close(&self) {}

    fn in_flight(&self) -> usize {
        self.driver.under_way()
    }

    fn left_out(&self) -> Vec<String> {
        Vec::new()
    }
}
