//! Advanced Error Reporting: counters, records, registers, injection, and ports that contain errors (AER-05 to AER-09).

mod counted;
mod inject;
mod injected;
mod release;
mod reported;
mod rig;
