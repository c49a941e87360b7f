//! A procedure of the device's own that answers as told.

use gate::Quiesced;
use pci_core::{Errno, Function, ResetKind};
use pci_spec::Bdf;
use reset::{Procedure, Procedures};
use std::sync::Arc;
use std::time::Duration;

pub(crate) struct Scripted {
    answer: Result<Duration, Errno>,
}

impl Scripted {
    pub(crate) fn new(answer: Result<Duration, Errno>) -> Arc<Scripted> {
        Arc::new(Scripted { answer })
    }
}

impl Procedures for Scripted {
    fn has(&self, procedure: Procedure, _: &Function, _: Bdf) -> bool {
        procedure == Procedure::DeviceSpecific
    }

    fn run(
        &self,
        _: Procedure,
        quiesced: &Quiesced<'_>,
        function: &Function,
        _: Bdf,
    ) -> Result<Duration, Errno> {
        if self.answer.is_ok() {
            function.reset_quiesced(quiesced, ResetKind::FunctionLevel);
        }
        self.answer
    }
}
