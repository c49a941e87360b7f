//! Checks what `lspci -vvv` prints of the disk: its class, driver and capabilities.

use super::source::{Interrupt, Source};

/// What is wrong with the output for a disk of `source` in mode `irq`; empty if nothing is.
pub(super) fn faults(output: &str, source: Source, irq: Interrupt) -> Vec<String> {
    let mut faults = Vec::new();
    let mut expect = |holds: bool, what: &str| {
        if !holds {
            faults.push(format!("lspci does not show {what}"));
        }
    };
    expect(output.contains("Non-Volatile memory controller"), "the class of an NVMe controller");
    expect(output.contains("Kernel driver in use: nvme"), "the driver nvme");
    expect(capability(output, "Power Management").is_some(), "a Power Management capability");
    let express = capability(output, "Express");
    expect(express.is_some_and(|text| text.contains("Endpoint")), "an Express capability of an endpoint");
    expect(express.is_some_and(|text| text.contains("FLReset+")), "FLReset+ in the Express capability");
    if source.has_aer() {
        expect(capability(output, "Advanced Error Reporting").is_some(), "Advanced Error Reporting");
    }
    let enabled = |name| capability(output, name).is_some_and(|text| text.contains("Enable+"));
    expect(enabled("MSI:") == (irq == Interrupt::Msi), "MSI enabled in MSI mode and only there");
    expect(enabled("MSI-X:") == (irq == Interrupt::Msix), "MSI-X enabled in MSI-X mode and only there");
    if irq == Interrupt::Intx {
        expect(output.contains("Interrupt: pin A routed to IRQ"), "an interrupt pin that is routed");
        expect(output.contains("DisINTx-"), "INTx enabled in INTx mode");
    }
    faults
}

/// The lines of a capability: the one that names it and those indented below.
fn capability<'a>(output: &'a str, name: &str) -> Option<&'a str> {
    let starts = output.match_indices("Capabilities: [").map(|(at, _)| at);
    let mut blocks =
        starts.clone().zip(starts.skip(1).chain([output.len()])).map(|(from, to)| &output[from..to]);
    blocks.find(|block| block.split_once("] ").is_some_and(|(_, text)| text.starts_with(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSI: &str = "\
0000:01:00.0 Non-Volatile memory controller: Device 1234:5678 (prog-if 02 [NVM Express])
\tControl: I/O- Mem+ BusMaster+ DisINTx+
\tCapabilities: [40] Power Management version 3
\t\tStatus: D0
\tCapabilities: [50] MSI: Enable+ Count=32/32 Maskable+ 64bit+
\tCapabilities: [60] Express (v2) Endpoint, IntMsgNum 0
\t\tDevCap:\tMaxPayload 128 bytes, FLReset+
\tCapabilities: [100 v2] Advanced Error Reporting
\tKernel driver in use: nvme
";

    #[test]
    fn a_complete_function_has_no_faults() {
        assert_eq!(faults(MSI, Source::Portcullis, Interrupt::Msi), Vec::<String>::new());
    }

    #[test]
    fn the_wrong_interrupt_mode_is_a_fault() {
        assert_eq!(faults(MSI, Source::Portcullis, Interrupt::Msix).len(), 2);
        assert!(!faults(MSI, Source::Portcullis, Interrupt::Intx).is_empty());
    }

    #[test]
    fn each_missing_capability_is_a_fault_of_its_own() {
        for missing in
            ["Power Management", "FLReset+", "Advanced Error", "Non-Volatile", "driver in use: nvme"]
        {
            let output = MSI.replace(missing, "Vendor Specific");
            assert_eq!(faults(&output, Source::Portcullis, Interrupt::Msi).len(), 1, "{missing}");
        }
    }
}
