//! The methods by which a function can be reset, and their order.

use std::fmt;

/// How many methods there are, and so how long a list of them may be (RST-03).
pub const METHOD_COUNT: usize = 7;

/// A way to reset one function, named as in Linux's `reset_method`; declared in the order in which they are tried
/// (RST-01).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Method {
    /// A procedure of the device's own (RST-16).
    DeviceSpecific = 1,
    /// A procedure of the firmware: the ACPI method `_RST` (RST-16).
    Acpi,
    /// Function Level Reset through Device Control. PCIe 6.0 s6.6.2 *Function Level Reset (FLR)*; RST-05.
    Flr,
    /// Function Level Reset of conventional PCI. ECN *Advanced Capabilities for Conventional PCI*; RST-06.
    AfFlr,
    /// D3hot and back to D0, for a function that loses its state on the way. PCIe 6.0 s5.3.1.4 *D3 State*; RST-07.
    Pm,
    /// The hot-plug slot or the secondary bus, if nothing else is on it. PCIe 6.0 s6.6.1 *Conventional Reset*;
    /// RST-08.
    Bus,
    /// As [`Method::Bus`] below a CXL port that masks the reset of its bus (RST-17).
    CxlBus,
}

impl Method {
    /// All methods, in the order in which they are tried (RST-01).
    pub const ALL: [Method; METHOD_COUNT] = [
        Method::DeviceSpecific,
        Method::Acpi,
        Method::Flr,
        Method::AfFlr,
        Method::Pm,
        Method::Bus,
        Method::CxlBus,
    ];

    /// The name in `reset_method`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Method::DeviceSpecific => "device_specific",
            Method::Acpi => "acpi",
            Method::Flr => "flr",
            Method::AfFlr => "af_flr",
            Method::Pm => "pm",
            Method::Bus => "bus",
            Method::CxlBus => "cxl_bus",
        }
    }

    /// The method of this name; names are matched exactly.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|method| method.name() == name)
    }

    /// Whether it reaches beyond the function, so that the bridge above has to be closed too.
    #[must_use]
    pub const fn needs_bridge(self) -> bool {
        matches!(self, Method::Bus | Method::CxlBus)
    }

    /// What messages call it: "not ready 1023 ms after FLR".
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Method::DeviceSpecific => "device specific reset",
            Method::Acpi => "ACPI _RST reset",
            Method::Flr => "FLR",
            Method::AfFlr => "AF_FLR",
            Method::Pm => "PM D3hot->D0",
            Method::Bus | Method::CxlBus => "bus reset",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rst_01_the_methods_are_tried_in_linuxs_order() {
        let names = Method::ALL.map(Method::name);
        assert_eq!(names, ["device_specific", "acpi", "flr", "af_flr", "pm", "bus", "cxl_bus"]);
        assert!(Method::ALL.is_sorted());
    }

    #[test]
    fn a_name_is_matched_exactly() {
        for method in Method::ALL {
            assert_eq!(Method::of_name(method.name()), Some(method));
        }
        assert_eq!(Method::of_name("FLR"), None);
        assert_eq!(Method::of_name(""), None);
    }
}
