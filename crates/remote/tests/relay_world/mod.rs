//! Servers that remember what they have mapped, and die, hang or refuse when they are told to.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "test code")]

use std::collections::BTreeMap;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use assign::{DmaRelay, Mapped, Permissions, Port, RequestError};
use gate::lock::{Condvar, Leaf};
use gate::{Deadline, Gate, ThreadToken};
use pci_core::{ConfigSpace, Identity};
use remote::fence::{Fence, Known};
use remote::link::{LinkError, Loss};
use remote::relay::dma::{Dma, Wire};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::io::Errno;
use vfio_user::codec::{Command, DmaMap};

gate::ranks! {
    /// A server of the test's own; a leaf.
    pub Fake = 250, "fake server";
}

pub(crate) fn port() -> Arc<Port> {
    let config = ConfigSpace::builder(Identity::new(1, 1, pci_spec::ClassCode::NVME)).build().unwrap();
    Port::new(&Gate::new("relayed"), Arc::new(config), Arc::new(()))
}

pub(crate) fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

pub(crate) fn at_once() -> Deadline {
    Deadline::after(Duration::ZERO)
}

pub(crate) fn file(size: u64) -> OwnedFd {
    let fd = memfd_create("guest", MemfdFlags::CLOEXEC).unwrap();
    ftruncate(&fd, size).unwrap();
    fd
}

/// What is to become of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection ends when this many calls have been answered; the next one is not carried out.
    DieBefore(usize),
    /// The same, but the next one is carried out before.
    DieAfter(usize),
    /// Maps are refused.
    RefuseMaps,
    /// Unmaps are refused.
    RefuseUnmaps,
}

/// A server and its process.
pub(crate) struct Server {
    state: Leaf<Fake, State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    maps: BTreeMap<u64, u64>,
    flags: BTreeMap<u64, u32>,
    files: usize,
    calls: usize,
    unmaps: usize,
    fault: Option<Fault>,
    /// Calls to maps wait, and how many do.
    held: bool,
    waiting: usize,
    lost: bool,
    over: bool,
    unknown: bool,
}

impl Server {
    pub(crate) fn new(fault: Option<Fault>) -> Arc<Server> {
        let state = State { fault, ..State::default() };
        Arc::new(Server { state: Leaf::new(state), changed: Condvar::new() })
    }

    /// A server whose process nobody knows.
    pub(crate) fn unknown() -> Arc<Server> {
        let server = Server::new(None);
        server.state.lock().unknown = true;
        server
    }

    /// Address and bytes of all that it can reach; nothing once its process is over.
    pub(crate) fn reaches(&self) -> Vec<(u64, u64)> {
        let state = self.state.lock();
        if state.over { Vec::new() } else { state.maps.iter().map(|(iova, size)| (*iova, *size)).collect() }
    }

    pub(crate) fn flags_of(&self, iova: u64) -> Option<u32> {
        self.state.lock().flags.get(&iova).copied()
    }

    pub(crate) fn files(&self) -> usize {
        self.state.lock().files
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.state.lock().lost
    }

    pub(crate) fn unmaps(&self) -> usize {
        self.state.lock().unmaps
    }

    pub(crate) fn fail(&self, fault: Option<Fault>) {
        self.state.lock().fault = fault;
    }

    /// Maps wait from now on, before they are carried out, or go on.
    pub(crate) fn hold(&self, held: bool) {
        self.state.lock().held = held;
        self.changed.notify_all();
    }

    pub(crate) fn wait_until_held(&self, token: &mut ThreadToken) {
        let mut state = self.state.lock();
        while state.waiting == 0 {
            let late;
            (state, late) = self.changed.wait(state, token, soon());
            assert!(!late, "nobody came");
        }
    }

    /// The connection ends; the process lives.
    pub(crate) fn lose(&self) {
        self.state.lock().lost = true;
        self.changed.notify_all();
    }

    /// The process ends, and the connection with it.
    pub(crate) fn kill(&self) {
        let mut state = self.state.lock();
        (state.lost, state.over) = (true, true);
        drop(state);
        self.changed.notify_all();
    }

    /// One call: `carry out` or not, and the answer.
    fn call(
        &self,
        command: Command,
        carry_out: impl FnOnce(&mut State) -> Result<(), LinkError>,
    ) -> Result<(), LinkError> {
        breathe();
        let mut state = self.state.lock();
        if state.lost {
            return Err(LinkError::Lost(Loss::Closed));
        }
        let refused = |errno| Err(LinkError::Refused { command, errno });
        state.calls += 1;
        let answered = state.calls - 1;
        let result = match state.fault {
            Some(Fault::DieBefore(after)) if answered >= after => {
                state.lost = true;
                Err(LinkError::Lost(Loss::Closed))
            }
            Some(Fault::DieAfter(after)) if answered >= after => {
                state.lost = true;
                carry_out(&mut state).and(Err(LinkError::Lost(Loss::Closed)))
            }
            Some(Fault::RefuseMaps) if command == Command::DmaMap => refused(Errno::NOMEM),
            Some(Fault::RefuseUnmaps) if command == Command::DmaUnmap => refused(Errno::NOENT),
            _ => carry_out(&mut state),
        };
        drop(state);
        self.changed.notify_all();
        breathe();
        result
    }
}

/// Lets others run between any two steps, for a while that is never the same.
fn breathe() {
    for _ in 0..fastrand::u32(0..4) {
        std::thread::yield_now();
    }
}

impl Wire for Server {
    fn map(
        &self,
        token: &mut ThreadToken,
        map: DmaMap,
        file: Option<BorrowedFd<'_>>,
    ) -> Result<(), LinkError> {
        let mut state = self.state.lock();
        state.waiting += 1;
        self.changed.notify_all();
        while state.held && !state.lost {
            let late;
            (state, late) = self.changed.wait(state, token, soon());
            assert!(!late, "nobody let it go on");
        }
        state.waiting -= 1;
        drop(state);
        let (iova, size) = (map.address, map.size);
        self.call(Command::DmaMap, |state| {
            let before = state.maps.range(..iova + size).next_back();
            let overlaps = before.is_some_and(|(start, size)| start + size > iova);
            assert!(!overlaps, "{iova:#x} is mapped twice");
            state.maps.insert(iova, size);
            state.flags.insert(iova, map.flags);
            state.files += usize::from(file.is_some());
            Ok(())
        })
    }

    fn unmap(&self, _: &mut ThreadToken, iova: u64, size: u64) -> Result<(), LinkError> {
        self.call(Command::DmaUnmap, |state| {
            assert_eq!(state.maps.remove(&iova), Some(size), "{iova:#x} is not mapped so");
            state.unmaps += 1;
            Ok(())
        })
    }

    fn cut(&self, _: &'static str) {
        self.lose();
    }
}

impl Fence for Server {
    fn known(&self) -> Known {
        let state = self.state.lock();
        match (state.over, state.unknown) {
            (true, _) => Known::Ended,
            (false, true) => Known::Unknown,
            (false, false) => Known::Alive,
        }
    }

    fn wait(&self, token: &mut ThreadToken, deadline: Deadline) -> bool {
        let mut state = self.state.lock();
        let mut late = false;
        while !state.over && !late {
            (state, late) = self.changed.wait(state, token, deadline);
        }
        state.over
    }
}

pub(crate) fn attach(
    dma: &Dma,
    token: &mut ThreadToken,
    server: &Arc<Server>,
) -> Result<(), remote::relay::dma::ReplayError> {
    dma.attach(token, server.clone(), server.clone())
}

pub(crate) const RW: Permissions = Permissions { read: true, write: true };

pub(crate) fn map_file(
    dma: &Dma,
    token: &mut ThreadToken,
    iova: u64,
    size: u64,
    file: Option<OwnedFd>,
) -> Result<(), RequestError> {
    dma.mapped(token, Mapped { iova, size, offset: 0, permissions: RW, file }, soon())
}

pub(crate) fn map(dma: &Dma, token: &mut ThreadToken, iova: u64, size: u64) -> Result<(), RequestError> {
    map_file(dma, token, iova, size, None)
}

pub(crate) fn unmap(dma: &Dma, token: &mut ThreadToken, ranges: &[(u64, u64)]) -> Result<(), RequestError> {
    dma.unmapped(token, ranges, soon())
}
