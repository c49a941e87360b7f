//! The connection between the driver and the back end of the moment; it can end at any call.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use gate::ThreadToken;
use pci_spec::config::CLASS_CODE;
use remote::link::{LinkError, Loss};
use remote::nvme::Wire;
use remote::nvme::wire::{BAR0, CONFIG};
use vfio_user::client::{MappedArea, SharedMemory};

use super::disk::Process;
use super::scene::{Scene, World};
use super::server::Server;

/// See the module's head.
pub(super) struct Line {
    pub(super) scene: Arc<Scene>,
    pub(super) process: Process,
}

impl Line {
    /// Whether the back end lives.
    pub(super) fn is_alive(&self) -> bool {
        let process = self.process;
        self.scene.world.with(|world| world.server.as_ref().is_some_and(|server| server.process == process))
    }

    /// Talks to the back end, if it lives: it may die of it.
    fn call<R>(&self, call: impl FnOnce(&mut Server, &mut World) -> R) -> Result<R, LinkError> {
        self.scene.world.with(|world| {
            let gone = Err(LinkError::Lost(Loss::Closed));
            if world.dies_after == Some(0) {
                world.kill();
            }
            world.dies_after = world.dies_after.map(|calls| calls.saturating_sub(1));
            let Some(mut server) = world.server.take().filter(|server| server.process == self.process) else {
                return gone;
            };
            let answer = call(&mut server, world);
            world.server = Some(server);
            Ok(answer)
        })
    }
}

impl Wire for Line {
    fn read(
        &self,
        _token: &mut ThreadToken,
        region: u32,
        offset: u64,
        data: &mut [u8],
    ) -> Result<(), LinkError> {
        self.call(|server, world| {
            data.fill(0);
            if region == CONFIG {
                // A function without capabilities, of which only the class is looked at.
                let class = [0x02, 0x08, 0x01].into_iter().zip(u64::from(CLASS_CODE)..);
                for (byte, at) in class {
                    let place = at.checked_sub(offset).and_then(|at| usize::try_from(at).ok());
                    if let Some(place) = place.and_then(|at| data.get_mut(at)) {
                        *place = byte;
                    }
                }
            }
            if region == BAR0 {
                world.run_eagerly(server);
                server.read(offset, data, &world.disk);
            }
        })
    }

    fn write(&self, token: &mut ThreadToken, region: u32, offset: u64, data: &[u8]) -> Result<(), LinkError> {
        self.post(token, region, offset, data)
    }

    fn post(&self, _token: &mut ThreadToken, region: u32, offset: u64, data: &[u8]) -> Result<(), LinkError> {
        self.call(|server, world| {
            if region == BAR0 {
                server.write(offset, data);
                world.run_eagerly(server);
            }
        })
    }

    fn reset(&self, _token: &mut ThreadToken) -> Result<(), LinkError> {
        self.call(|server, _| server.write(nvme_spec::register::CC, &[0; 4]))
    }

    fn map(&self, _token: &mut ThreadToken, iova: u64, memory: &SharedMemory) -> Result<(), LinkError> {
        let file = memory.as_fd().try_clone_to_owned();
        let file = file.map_err(|_| LinkError::Lost(Loss::Closed))?;
        self.call(|server, _| server.map(iova, memory.len() as u64, file))
    }

    fn unmap(&self, _token: &mut ThreadToken, iova: u64, _length: u64) -> Result<(), LinkError> {
        self.call(|server, _| server.unmap(iova))
    }

    fn vectors(&self, _token: &mut ThreadToken, index: u32) -> Result<u32, LinkError> {
        self.call(|_, _| u32::from(index == vfio_user::codec::irq_index::MSI))
    }

    fn signal(
        &self,
        _token: &mut ThreadToken,
        _index: u32,
        eventfd: BorrowedFd<'_>,
    ) -> Result<(), LinkError> {
        let eventfd = eventfd.try_clone_to_owned().map_err(|_| LinkError::Lost(Loss::Closed))?;
        self.call(|server, _| server.eventfd = Some(eventfd))
    }

    fn unmask(&self, _token: &mut ThreadToken, _index: u32) -> Result<(), LinkError> {
        self.call(|_, _| ())
    }

    fn doorbells(
        &self,
        _token: &mut ThreadToken,
        _start: u64,
        _end: u64,
    ) -> Result<Option<MappedArea>, LinkError> {
        self.call(|_, _| None)
    }

    fn cut(&self, _loss: Loss) {
        self.scene.world.with(|world| {
            if world.server.as_ref().is_some_and(|server| server.process == self.process) {
                world.kill();
            }
        });
    }
}
