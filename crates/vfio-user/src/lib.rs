//! The vfio-user protocol: codec, server, client.
//!
//! vfio-user carries the operations of Linux's vfio over a UNIX socket, so that a virtual machine monitor can
//! use a PCI function that another process implements. [`server`] puts an [`assign::Assignment`] on a socket,
//! [`client`] is the other end, [`connection`] moves messages and descriptors, and [`codec`] knows their bytes.
//!
//! What this crate does not do: it knows no device type, and it decides nothing that `assign` and `pci-core`
//! decide. It translates.
//!
//! # Concurrency
//! A session and a client each belong to one thread; see [`server`] for the threads of a server. No lock is
//! held while waiting: every wait takes a [`gate::ThreadToken`].

pub mod client;
pub mod codec;
pub mod connection;
pub mod fuzz;
pub mod ranks;
pub mod server;

use std::path::{Path, PathBuf};

/// Where the socket is: `path` itself, or `cntrl` in it when it is a directory.
pub fn socket_path(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("cntrl") } else { path.to_path_buf() }
}
