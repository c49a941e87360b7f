//! Who is at the other end of a UNIX stream socket.
//!
//! The kernel remembers who made the peer's end: for an accepted socket the process that connected, for a connected one the
//! process that called `listen` (which is not the server's, if another one made the socket for it).

use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// The process that made the peer's end, as this one numbers it; nothing if that is not known, or not to be seen from here.
pub fn peer_process(socket: impl AsFd) -> Option<i32> {
    let peer = rustix::net::sockopt::socket_peercred(socket).ok()?;
    Some(peer.pid.as_raw_pid()).filter(|pid| *pid > 0)
}

/// The same process as a descriptor, which never comes to mean a later process of the same number. It is readable when the
/// process is over.
///
/// A kernel before 6.5 is asked by number. Then it is the right process if the peer is heard of after this call, since its
/// number was still its own.
pub fn peer_pidfd(socket: impl AsFd) -> Option<OwnedFd> {
    from_socket(socket.as_fd().as_raw_fd()).or_else(|| {
        let pid = Pid::from_raw(peer_process(socket)?)?;
        pidfd_open(pid, PidfdFlags::empty()).ok()
    })
}

fn from_socket(socket: RawFd) -> Option<OwnedFd> {
    let mut pidfd: libc::c_int = -1;
    let mut length = libc::socklen_t::try_from(size_of::<libc::c_int>()).ok()?;
    // SAFETY: `socket` is open for the time of the call, and the pointers name a c_int and its size, which live as long.
    let outcome = unsafe {
        libc::getsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_PEERPIDFD,
            (&raw mut pidfd).cast(),
            &raw mut length,
        )
    };
    if outcome != 0 || pidfd < 0 {
        return None;
    }
    // SAFETY: the kernel made this descriptor (close-on-exec) for this call, and nobody else knows it.
    Some(unsafe { OwnedFd::from_raw_fd(pidfd) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_other_end_of_a_pair_is_this_process_both_ways() {
        let (near, _far) = UnixStream::pair().unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        assert_eq!(peer_process(&near), Some(own));
        let pidfd = peer_pidfd(&near).unwrap();
        let about = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).unwrap();
        assert!(about.lines().any(|line| line == format!("Pid:\t{own}")), "{about}");
    }
}
