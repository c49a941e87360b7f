//! PCI LOAD, PCI STORE and PCI STORE BLOCK: how a program on s390 reaches a function (ZP-13, ZP-14).
//!
//! An instruction has a [`Request`] (handle, address space, length), an offset and data. It ends with its work done, with a
//! condition code and a status, or with a program check: [`Fault`] has all of them. [`Accessor`] copies any length in pieces.
//!
//! What is checked, in this order: whether the handle names anything; the operand by itself ([`ProgramCheck`]); the gate of the function,
//! which says *busy*, *blocked* or *gone*; inside, the handle once more, permanent error, the address space; then what any access is
//! checked for.
//!
//! **Busy is bounded.** Linux tries a busy instruction again for ever, with pauses (ZP-13 calls that a defect). Here there are two
//! kinds: [`Zpci::pcilg`](crate::Zpci::pcilg) and the like never wait and say *busy*; [`Zpci::load`](crate::Zpci::load) and the
//! like wait at the gate itself, to a deadline, and can be cancelled.
//!
//! Words: values are bytes in the order of their addresses from the lowest of the number on, whatever the machine's own order.
//!
//! What this module does **not** do: memory I/O by address without a handle, instructions that control a function, and changes of
//! handles.
//!
//! Concurrency: no locks. A function is found by its handle under a [`gate::Published`] reading, and reached under a short pass,
//! where the handle is looked at again: a change of the handle that drains the gate has no access of the old one behind it.

mod accessor;
mod by_handle;
mod enter;
mod fault;
mod operand;
mod request;
mod within;

pub use accessor::Accessor;
pub use fault::{Fault, ProgramCheck, Status};
pub use request::{AddressSpace, Request, Space};
