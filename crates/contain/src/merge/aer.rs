//! The merge table of AER (AER-03).

use super::Table;
use super::Vote::{CanRecover, Disconnect, NeedReset, NoAerDriver, None, Recovered};

/// *No AER driver* wins, *none* is ignored, *can recover* and *recovered* are replaced by anything, *disconnect* only by
/// *need reset*. Nothing begins with *none* where this table is used; it is ignored there, too.
#[rustfmt::skip]
pub(super) const TABLE: Table = [
    //  next: None         CanRecover   NeedReset    Disconnect   Recovered    NoAerDriver      so far:
    [         None,        CanRecover,  NeedReset,   Disconnect,  Recovered,   NoAerDriver ], // None
    [         CanRecover,  CanRecover,  NeedReset,   Disconnect,  Recovered,   NoAerDriver ], // CanRecover
    [         NeedReset,   NeedReset,   NeedReset,   NeedReset,   NeedReset,   NoAerDriver ], // NeedReset
    [         Disconnect,  Disconnect,  NeedReset,   Disconnect,  Disconnect,  NoAerDriver ], // Disconnect
    [         Recovered,   CanRecover,  NeedReset,   Disconnect,  Recovered,   NoAerDriver ], // Recovered
    [         NoAerDriver, NoAerDriver, NoAerDriver, NoAerDriver, NoAerDriver, NoAerDriver ], // NoAerDriver
];
