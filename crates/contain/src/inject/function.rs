//! Which access an injected error hits.

use crate::address_cache::Space;

/// What kind of access an error hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// Accesses to a BAR.
    Bar(Space),
    /// Accesses to configuration space.
    Config,
    /// Accesses by the device.
    Dma,
}

macro_rules! functions {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $target:expr, $text:literal;)+) => {
        /// Which access an injected error hits, with EEH's numbers.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum ErrorFunction {
            $($(#[$doc])* $name = $number,)+
        }

        impl ErrorFunction {
            /// All of them, by their numbers.
            pub const ALL: &[ErrorFunction] = &[$(ErrorFunction::$name),+];

            /// The one of that number: 0 to 19.
            #[must_use]
            pub const fn from_number(number: u32) -> Option<ErrorFunction> {
                match number {
                    $($number => Some(ErrorFunction::$name),)+
                    _ => None,
                }
            }

            /// What kind of access it hits.
            #[must_use]
            pub const fn target(self) -> Target {
                match self {
                    $(ErrorFunction::$name => $target,)+
                }
            }

            /// For people.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(ErrorFunction::$name => $text,)+
                }
            }
        }
    };
}

functions! {
    /// The address of a load from memory.
    LoadMemoryAddress = 0, Target::Bar(Space::Memory), "address of a memory load";
    /// The data of a load from memory.
    LoadMemoryData = 1, Target::Bar(Space::Memory), "data of a memory load";
    /// The address of a load from I/O.
    LoadIoAddress = 2, Target::Bar(Space::Io), "address of an I/O load";
    /// The data of a load from I/O.
    LoadIoData = 3, Target::Bar(Space::Io), "data of an I/O load";
    /// The address of a read of configuration space.
    LoadConfigAddress = 4, Target::Config, "address of a configuration read";
    /// The data of a read of configuration space.
    LoadConfigData = 5, Target::Config, "data of a configuration read";
    /// The address of a store to memory.
    StoreMemoryAddress = 6, Target::Bar(Space::Memory), "address of a memory store";
    /// The data of a store to memory.
    StoreMemoryData = 7, Target::Bar(Space::Memory), "data of a memory store";
    /// The address of a store to I/O.
    StoreIoAddress = 8, Target::Bar(Space::Io), "address of an I/O store";
    /// The data of a store to I/O.
    StoreIoData = 9, Target::Bar(Space::Io), "data of an I/O store";
    /// The address of a write of configuration space.
    StoreConfigAddress = 10, Target::Config, "address of a configuration write";
    /// The data of a write of configuration space.
    StoreConfigData = 11, Target::Config, "data of a configuration write";
    /// The address of a read by the device.
    DmaReadAddress = 12, Target::Dma, "address of a DMA read";
    /// The data of a read by the device.
    DmaReadData = 13, Target::Dma, "data of a DMA read";
    /// A read by the device, noticed by it.
    DmaReadMaster = 14, Target::Dma, "master of a DMA read";
    /// A read by the device, noticed by what it reads.
    DmaReadTarget = 15, Target::Dma, "target of a DMA read";
    /// The address of a write by the device.
    DmaWriteAddress = 16, Target::Dma, "address of a DMA write";
    /// The data of a write by the device.
    DmaWriteData = 17, Target::Dma, "data of a DMA write";
    /// A write by the device, noticed by it.
    DmaWriteMaster = 18, Target::Dma, "master of a DMA write";
    /// A write by the device, noticed by what it writes.
    DmaWriteTarget = 19, Target::Dma, "target of a DMA write";
}
