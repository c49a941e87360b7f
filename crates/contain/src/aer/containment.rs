//! Reporting errors to containment: the shell around [`notice`](super::notice).

use super::{AerError, AerInjection, InjectAerError, ReportError, Reported, names, notice};
use crate::containment::{Containment, RefusedError};
use crate::plan::Flavour;
use gate::ThreadToken;
use pci_core::ErrorSign;
use pci_spec::Bdf;
use thiserror::Error;

/// Why an error that was recorded is not recovered from.
#[derive(Debug, Error)]
pub enum AerReportError {
    /// It was not recorded either.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// It could not be injected.
    #[error(transparent)]
    Inject(#[from] InjectAerError),
    /// It is counted, and nothing is done about it.
    #[error(transparent)]
    Refused(#[from] RefusedError),
}

impl Containment {
    /// A function reports an error: it is recorded and counted (AER-09), a port may contain it (AER-08), and what it concerns is
    /// recovered by AER's rules. The recovery is begun by the next [turn](Containment::turn).
    ///
    /// # Errors
    /// [`AerReportError`].
    pub fn report_aer(
        &self,
        token: &mut ThreadToken,
        at: Bdf,
        error: &AerError,
    ) -> Result<Reported, AerReportError> {
        let snapshot = self.tree().snapshot(token);
        let reported = notice(&snapshot, self.aer(), at, error, self.parts().time.now())?;
        if let Reported::Error { severity, recover: Some(recover), record } = reported {
            let name = names::uncorrectable(record.uncorrectable).or(names::correctable(record.correctable));
            let sign = ErrorSign::DeviceFault(name.unwrap_or("AER"));
            self.report(token, recover, Flavour::Aer(severity), sign)?;
        }
        Ok(reported)
    }

    /// Injects an error as `/dev/aer_inject` does.
    ///
    /// # Errors
    /// [`AerReportError`]; nothing is recorded if it cannot be injected.
    pub fn inject_aer(
        &self,
        token: &mut ThreadToken,
        injection: &AerInjection,
    ) -> Result<Reported, AerReportError> {
        let snapshot = self.tree().snapshot(token);
        injection.check(&snapshot)?;
        self.report_aer(token, injection.at, &injection.error)
    }
}
