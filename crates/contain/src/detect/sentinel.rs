//! What a function tells its errors to.

use super::Detector;
use crate::tree::PeFunction;
use gate::ThreadToken;
use pci_core::{ErrorSign, Function, Sentinel};
use pci_spec::Bdf;
use std::sync::{Arc, Weak};

/// One function's sentinel. It knows which function it is, not just where: of another one at the same place it says nothing
/// (law 5).
#[derive(Debug)]
pub struct FunctionSentinel {
    detector: Weak<Detector>,
    at: Bdf,
    /// Never followed: it is compared, and nothing else comes to its address as long as it is here.
    function: Weak<Function>,
}

impl FunctionSentinel {
    pub(crate) fn new(detector: &Arc<Detector>, at: Bdf, function: &Arc<Function>) -> FunctionSentinel {
        FunctionSentinel { detector: Arc::downgrade(detector), at, function: Arc::downgrade(function) }
    }

    fn is_of(&self, function: &PeFunction) -> bool {
        std::ptr::eq(self.function.as_ptr(), Arc::as_ptr(&function.function))
    }
}

impl Sentinel for FunctionSentinel {
    fn noticed(&self, token: &ThreadToken, sign: ErrorSign) {
        if let Some(detector) = self.detector.upgrade() {
            let _checked = detector.notice(token, self.at, |function| self.is_of(function), sign);
        }
    }
}
