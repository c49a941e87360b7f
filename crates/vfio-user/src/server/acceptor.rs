//! Accepts the clients of many functions on one thread, gives one client of each a session, and refuses the others.
//!
//! A session whose function has been taken away since makes room for the next one, and goes on beside it as a tombstone.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::thread::Scope;
use std::time::Duration;

use gate::ThreadToken;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::{Errno, read};
use rustix::net::{SocketFlags, accept_with};

use super::Stop;
use super::active::Active;
use super::candidates::Candidates;
use super::listener::Server;

/// How long accepting pauses when the process has no descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that one function may have accepted before the others have their turn.
const TURN: usize = 16;

/// Serves until `stop` is thrown or every listening socket has failed.
pub(super) fn run(servers: &[&Server], token: &mut ThreadToken, stop: &Stop) -> Result<(), Errno> {
    let ended = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    std::thread::scope(|scope| {
        let mut acceptor = Acceptor {
            places: servers.iter().map(|server| Place::new(server)).collect(),
            ended,
            accepting: true,
            failure: None,
        };
        let outcome = acceptor.serve(scope, token, stop);
        acceptor.end(token);
        outcome.and(acceptor.failure.map_or(Ok(()), Err))
    })
}

struct Acceptor<'scope, 'env> {
    places: Vec<Place<'scope, 'env>>,
    /// Written by each session that ends.
    ended: OwnedFd,
    /// There are descriptors to accept with, as far as is known.
    accepting: bool,
    /// The first failure of a listening socket.
    failure: Option<Errno>,
}

/// One server, and who is or would be its client.
struct Place<'scope, 'env> {
    server: &'env Server,
    candidates: Candidates,
    active: Option<Active<'scope>>,
    /// Sessions for functions that were here before. Their number is bounded by `Server::plug`, but for those that have not
    /// come as far as `VERSION`, which has a time.
    tombstones: Vec<Active<'scope>>,
    /// Its listening socket works.
    listening: bool,
}

/// What a wait ended with.
#[derive(Default)]
struct Ready {
    stop: bool,
    ended: bool,
    /// Places at whose door somebody is.
    knocked: Vec<usize>,
    /// Places whose door is none any more: it would be ready for ever, and nobody could come in.
    broken: Vec<usize>,
}

impl<'scope, 'env> Acceptor<'scope, 'env> {
    fn serve(
        &mut self,
        scope: &'scope Scope<'scope, 'env>,
        token: &mut ThreadToken,
        stop: &Stop,
    ) -> Result<(), Errno> {
        while self.places.iter().any(|place| place.listening) {
            let ready = self.wait(token, stop)?;
            if ready.stop {
                break;
            }
            if ready.ended {
                let _ = read(&self.ended, &mut [0; 8]);
                self.places.iter_mut().for_each(|place| place.reap(token));
            }
            self.accepting = true;
            ready.knocked.into_iter().for_each(|index| self.accept(index));
            ready.broken.into_iter().for_each(|index| self.give_up(index, Errno::INVAL));
            for place in self.places.iter_mut().filter(|place| !place.candidates.is_empty()) {
                place.choose(scope, &self.ended);
            }
        }
        Ok(())
    }

    /// Waits until something is to be done.
    fn wait(&self, token: &mut ThreadToken, stop: &Stop) -> Result<Ready, Errno> {
        token.assert_holds_nothing();
        let input = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let mut watched = vec![input(stop.as_fd()), input(self.ended.as_fd())];
        let mut patience = self.places.iter().filter_map(|place| place.candidates.patience()).min();
        let listening = |(_, place): &(usize, &Place<'_, '_>)| self.accepting && place.listening;
        let doors: Vec<_> = self.places.iter().enumerate().filter(listening).collect();
        watched.extend(doors.iter().map(|(_, place)| input(place.server.socket.listener.as_fd())));
        if !self.accepting {
            patience = Some(patience.map_or(ACCEPT_PAUSE, |patience| patience.min(ACCEPT_PAUSE)));
        }
        watched.extend(self.places.iter().flat_map(|place| place.candidates.watched()).map(input));
        let timeout = patience.map(Timespec::try_from).transpose().map_err(|_| Errno::INVAL)?;
        match poll(&mut watched, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Ready::default()),
            Err(errno) => return Err(errno),
        }
        let mut found = watched.iter().map(PollFd::revents);
        let mut ready = Ready {
            stop: found.next().is_some_and(|events| !events.is_empty()),
            ended: found.next().is_some_and(|events| !events.is_empty()),
            ..Ready::default()
        };
        for ((index, _), events) in doors.iter().zip(found) {
            if events.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL) {
                ready.broken.push(*index);
            } else if !events.is_empty() {
                ready.knocked.push(*index);
            }
        }
        Ok(ready)
    }

    /// Takes the connections that wait at one door, up to a turn of them.
    fn accept(&mut self, index: usize) {
        let Some(place) = self.places.get_mut(index) else { return };
        for _ in 0..TURN {
            match accept_with(&place.server.socket.listener, SocketFlags::CLOEXEC) {
                Ok(stream) => place.candidates.add(UnixStream::from(stream)),
                Err(Errno::AGAIN) => return,
                // The client changed its mind.
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => {
                    self.accepting = false;
                    return;
                }
                Err(errno) => return self.give_up(index, errno),
            }
        }
    }

    fn give_up(&mut self, index: usize, errno: Errno) {
        let Some(place) = self.places.get_mut(index) else { return };
        let function = place.server.name();
        tracing::error!(function = &*function, %errno, "the listening socket failed; no client is taken any more");
        place.listening = false;
        self.failure.get_or_insert(errno);
    }

    /// Ends all sessions: tells every one before it waits for the first.
    fn end(&mut self, token: &mut ThreadToken) {
        let active: Vec<_> = self.places.iter_mut().flat_map(Place::sessions).collect();
        active.iter().for_each(Active::end);
        active.into_iter().for_each(|active| active.join(token));
    }
}

impl<'scope, 'env> Place<'scope, 'env> {
    fn new(server: &'env Server) -> Place<'scope, 'env> {
        let candidates = Candidates::new(server.options.refusal_timeout);
        Place { server, candidates, active: None, tombstones: Vec::new(), listening: true }
    }

    /// All its sessions.
    fn sessions(&mut self) -> impl Iterator<Item = Active<'scope>> + use<'scope> {
        self.active.take().into_iter().chain(std::mem::take(&mut self.tombstones))
    }

    /// Takes leave of sessions that have ended.
    fn reap(&mut self, token: &mut ThreadToken) {
        self.tombstones.extend(self.active.take_if(|active| active.has_ended()));
        for ended in self.tombstones.extract_if(.., |active| active.has_ended()) {
            ended.join(token);
        }
    }

    /// Makes a client of one of those that have connected, or refuses them if there is no function or it has one.
    fn choose(&mut self, scope: &'scope Scope<'scope, 'env>, ended: &OwnedFd) {
        let Some(seat) = self.server.door.seat() else {
            return self.candidates.refuse(Errno::NODEV, false);
        };
        self.tombstones.extend(self.active.take_if(|active| !active.is_at(&seat)));
        match &self.active {
            Some(active) => self.candidates.refuse(Errno::BUSY, active.has_hung_up()),
            None => {
                self.active = self
                    .candidates
                    .promote()
                    .and_then(|stream| Active::start(scope, self.server, seat, stream, ended));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::path::Path;
    use std::sync::Arc;

    use assign::{Assignment, Limits, Port};
    use gate::{Gate, Pass, Quiesced};
    use pci_core::{BarIndex, ConfigSpace, Device, Function, Identity, ResetKind};
    use rustix::net::{Shutdown, shutdown};

    use crate::server::ServerOptions;

    struct Nothing;

    impl Device for Nothing {
        fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &mut [u8]) {}
        fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}
        fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}
        fn describe(&self) -> Vec<(String, String)> {
            Vec::new()
        }
    }

    fn server(path: &Path) -> Server {
        let identity = Identity::new(1, 1, pci_spec::ClassCode::NVME);
        let config = Arc::new(ConfigSpace::builder(identity).build().unwrap());
        let gate = Gate::new("nothing");
        let port = Port::new(&gate, Arc::clone(&config), Arc::new(()));
        let function = Arc::new(Function::new("nothing", gate, config, Arc::new(Nothing)));
        let assignment = Assignment::new(function, port, Limits::default());
        Server::bind(path, assignment, ServerOptions::default()).unwrap()
    }

    #[test]
    fn a_listening_socket_that_fails_takes_no_other_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let servers = [server(&directory.path().join("0")), server(&directory.path().join("1"))];
        let stop = Stop::new().unwrap();
        shutdown(&servers[0].socket.listener, Shutdown::Both).unwrap();
        std::thread::scope(|scope| {
            let running =
                scope.spawn(|| run(&servers.each_ref(), &mut ThreadToken::at_thread_entry(), &stop));
            let mut client = UnixStream::connect(servers[1].path()).unwrap();
            // A header of a command that is not VERSION is refused by the session: there is one.
            client.write_all(&[1, 0, 9, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).unwrap();
            client.read_exact(&mut [0; 16]).unwrap();
            stop.stop();
            assert_eq!(running.join().unwrap(), Err(Errno::INVAL));
        });
        // With nothing left to listen on it ends by itself.
        shutdown(&servers[1].socket.listener, Shutdown::Both).unwrap();
        let stop = Stop::new().unwrap();
        assert_eq!(run(&servers.each_ref(), &mut ThreadToken::at_thread_entry(), &stop), Err(Errno::INVAL));
    }
}
