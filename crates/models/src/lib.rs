//! Built-in device models and the host drivers that exercise them.

pub mod endpoint;
pub mod ism;
pub mod nvme;
pub mod ranks;
mod saved;
