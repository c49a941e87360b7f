//! Containment: partitionable endpoints, detection, freeze and recovery.
//!
//! * [`tree`] has the PEs, what is above what, and which functions are in them; [`pe`] is one of them.
//! * [`budget`] says how often one may freeze; [`address_cache`] whose BAR an address is in; [`orphans`] what was removed and is
//!   still held.
//! * [`plan`] is the recovery of a PE as a pure function: what happens goes in, what is to be done comes out.
//! * [`recovery`] carries it out, and calls whoever has the functions: [`party`].
//! * [`platform`] is the hardware of a recovery: reset, configuration, removal.
//! * [`vfio`] has the operations by which a consumer deals with errors itself; [`inject`] errors that somebody wants to happen.
//! * [`merge`] has the two tables by which the answers of drivers and consumers are merged.
//! * [`aer`] has what functions report of errors, with its counters, and what is to be recovered for it.
//! * [`containment`] is the front: it takes up what [`detect`]ion has noticed, freezes, and has a [`recovery`] carried out, which
//!   calls each [`party`] that has a function. [`follow`] keeps the tree like the topology.
//! * [`settings`] are an operator's; who [`watch`]es is told what happens.
//! * [`report`] has the words in which a recovery tells of itself.

// Law 1: whatever waits takes `&mut ThreadToken`; see clippy.toml.
#![cfg_attr(not(test), warn(clippy::disallowed_methods))]

pub mod address_cache;
pub mod aer;
pub mod budget;
pub mod containment;
pub mod detect;
pub mod follow;
pub mod inject;
pub mod merge;
pub mod orphans;
pub mod party;
pub mod pe;
pub mod plan;
pub mod platform;
pub mod ranks;
pub mod recovery;
pub mod report;
pub mod settings;
pub mod tree;
pub mod vfio;
pub mod watch;
