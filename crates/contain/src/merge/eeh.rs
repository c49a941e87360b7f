//! The merge table of containment (EEH-12).

use super::Table;
use super::Vote::{CanRecover, Disconnect, NeedReset, NoAerDriver, None, Recovered};

/// None < no AER driver < recovered < can recover < disconnect < need reset: the higher one wins. A reset wins over
/// *disconnect*, so a function that gave up is asked once more after the reset that another one needs.
#[rustfmt::skip]
pub(super) const TABLE: Table = [
    //  next: None         CanRecover  NeedReset  Disconnect  Recovered   NoAerDriver      so far:
    [         None,        CanRecover, NeedReset, Disconnect, Recovered,  NoAerDriver ], // None
    [         CanRecover,  CanRecover, NeedReset, Disconnect, CanRecover, CanRecover  ], // CanRecover
    [         NeedReset,   NeedReset,  NeedReset, NeedReset,  NeedReset,  NeedReset   ], // NeedReset
    [         Disconnect,  Disconnect, NeedReset, Disconnect, Disconnect, Disconnect  ], // Disconnect
    [         Recovered,   CanRecover, NeedReset, Disconnect, Recovered,  Recovered   ], // Recovered
    [         NoAerDriver, CanRecover, NeedReset, Disconnect, Recovered,  NoAerDriver ], // NoAerDriver
];
