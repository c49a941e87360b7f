//! The servers that were lost, as far as something of them may still land.
//!
//! Most often that is one, the last. But a server that is lost while it is being set up leaves the one before it as it was: commands
//! that were with that one are still to be executed, so its fence counts until something has gone on.

use std::sync::Arc;

use crate::fence::{Fence, How, Known, OldServer};

/// Servers before the last that are looked at one by one; of more it is not known whether they are over.
const MOST: usize = 64;

/// See the module's head.
pub(super) struct OldServers {
    last: Arc<OldServer>,
    /// Those before it that were lost since something went on, and were not over then.
    earlier: Vec<Arc<OldServer>>,
    /// There were more than those.
    more: bool,
    /// Everything went on since the last was lost: what the lost ones had is answered, or with the next.
    went_on: bool,
}

impl OldServers {
    /// There was none but `never`.
    pub(super) fn new(never: Arc<OldServer>) -> OldServers {
        OldServers { last: never, earlier: Vec::new(), more: false, went_on: true }
    }

    pub(super) fn last(&self) -> &Arc<OldServer> {
        &self.last
    }

    /// `server` is lost.
    pub(super) fn lost(&mut self, server: &Arc<OldServer>) {
        let before = std::mem::replace(&mut self.last, Arc::clone(server));
        if std::mem::take(&mut self.went_on) {
            self.earlier.clear();
            self.more = false;
        } else if !before.is_over() {
            // Also a connection to the same process, which is to be said over when something goes on there.
            self.more |= self.earlier.len() >= MOST;
            if !self.more {
                self.earlier.push(before);
            }
        }
    }

    /// What is known of all of them when `server` is the next: a server of theirs is over once its device has been reset.
    pub(super) fn known(&self, server: &OldServer) -> Known {
        let known = |old: &OldServer| if is_same(old, server) { Known::Over(How::Same) } else { old.known() };
        let more = if self.more { Known::Unknown } else { known(&self.last) };
        self.earlier.iter().map(|old| known(old)).fold(worse(known(&self.last), more), worse)
    }

    /// One of them that lives and is not `server`.
    pub(super) fn alive(&self, server: &OldServer) -> Option<&Arc<OldServer>> {
        let all = self.earlier.iter().chain([&self.last]);
        all.into_iter().find(|old| old.known() == Known::Alive && !is_same(old, server))
    }

    /// The next server says that nothing of any of them is under way.
    pub(super) fn are_over(&self) {
        self.earlier.iter().chain([&self.last]).for_each(|old| old.say_over(How::Server));
    }

    /// Everything goes on at `server`, whose device was reset before.
    pub(super) fn go_on(&mut self, server: &OldServer) {
        let all = self.earlier.iter().chain([&self.last]);
        all.filter(|old| is_same(old, server)).for_each(|old| old.say_over(How::Same));
        self.went_on = true;
    }
}

/// Whether the process of `old` lives and is that of `server`. Its number is nobody else's as long as it lives.
fn is_same(old: &OldServer, server: &OldServer) -> bool {
    server.pid().is_some() && server.pid() == old.pid() && old.known() == Known::Alive
}

fn worse(one: Known, other: Known) -> Known {
    let rank = |known: Known| match known {
        Known::Over(_) => 0,
        Known::Ended => 1,
        Known::Unknown => 2,
        Known::Alive => 3,
    };
    if rank(other) > rank(one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    /// A server whose process has ended.
    fn ended() -> Arc<OldServer> {
        let mut child = Command::new("true").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let process = pidfd_open(pid, PidfdFlags::empty()).unwrap();
        child.wait().unwrap();
        Arc::new(OldServer::new(Some(pid.as_raw_pid()), Some(process)).unwrap())
    }

    /// A connection to this process.
    fn own() -> Arc<OldServer> {
        let process = pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).unwrap();
        let pid = rustix::process::getpid().as_raw_pid();
        Arc::new(OldServer::new(Some(pid), Some(process)).unwrap())
    }

    fn none_yet() -> OldServers {
        OldServers::new(Arc::new(OldServer::never().unwrap()))
    }

    #[test]
    fn a_server_that_is_lost_while_it_is_set_up_leaves_the_fence_of_the_one_before() {
        let mut old = none_yet();
        old.lost(&ended());
        assert_eq!(old.known(&own()), Known::Ended);
        // The next one breaks while it is set up, and the same process serves once more.
        old.lost(&own());
        assert_eq!(old.known(&own()), Known::Ended, "the first one's writes may still land");
        old.go_on(&own());
        old.lost(&own());
        assert_eq!(old.known(&own()), Known::Over(How::Same), "what the first one had is answered");
    }

    #[test]
    fn all_of_them_are_over_when_the_next_one_says_so_or_is_one_of_them() {
        let mut old = none_yet();
        let (first, second) = (ended(), own());
        old.lost(&first);
        old.lost(&second);
        old.go_on(&own());
        assert!(second.is_over() && !first.is_over());
        let mut old = none_yet();
        let (first, second) = (ended(), ended());
        old.lost(&first);
        old.lost(&second);
        old.are_over();
        assert_eq!((first.is_over(), old.known(&own())), (true, Known::Over(How::Server)));
    }

    #[test]
    fn of_more_than_are_remembered_nothing_is_known() {
        let mut old = none_yet();
        let gone = ended();
        for _ in 0..MOST + 3 {
            let another = OldServer::new(None, None).unwrap();
            old.lost(&gone);
            old.lost(&Arc::new(another));
        }
        assert_eq!(old.known(&own()), Known::Unknown);
        assert!(old.earlier.len() <= MOST);
    }
}
