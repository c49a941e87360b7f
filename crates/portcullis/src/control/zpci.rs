//! What is told of the s390 view.

use serde::{Deserialize, Serialize};

/// One line of `portcullis zpci`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZpciSummary {
    /// Function ID: eight hexadecimal digits, which stay as long as the place of the function.
    pub fid: String,
    /// User-defined ID: four hexadecimal digits; empty without one.
    pub uid: String,
    /// Function handle: eight hexadecimal digits. The highest bit says that it is enabled; another one each time.
    pub handle: String,
    /// `reserved`, `standby` or `configured`.
    pub state: String,
    /// What the function does: `works`, `blocked`, `frozen`, `failed`, `gone`; empty while there is none.
    pub function: String,
    /// `0000:01:00.0`; empty for a virtual function that is just leaving.
    pub address: String,
    /// Name of the place; empty for a virtual function.
    #[serde(default)]
    pub slot: String,
    /// Of a virtual function: its number, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub virtual_function: Option<u16>,
    /// Of a virtual function: the function ID of its physical one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Whether consumers have the I/O region.
    pub io_region: bool,
}

/// `portcullis zpci show`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZpciReport {
    /// As in the list.
    #[serde(flatten)]
    pub summary: ZpciSummary,
    /// Whether instructions are admitted.
    pub enabled: bool,
    /// Longest block that one PCI Store Block may store, in bytes.
    pub max_store: u16,
    /// The function's group.
    pub group: u8,
    /// BARs that the function has, and the size of each as a power of two.
    pub bars: Vec<ZpciBar>,
    /// First address that the function may use for DMA.
    pub dma_start: String,
    /// Last one.
    pub dma_end: String,
}

/// A BAR as Query PCI Function shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ZpciBar {
    /// 0 to 5; also the address space in PCI instructions.
    pub bar: u8,
    /// Its size is two to the power of this.
    pub log2_size: u8,
}

/// `portcullis recover` and `portcullis zpci reset`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoverDone {
    /// Function ID.
    pub fid: String,
    /// `recovered`, `reset`, `not-configured` or `already-running`; of the last two, nothing was done.
    pub outcome: String,
    /// The function's handle now.
    pub handle: String,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// `portcullis zpci report-error`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorReported {
    /// Function ID.
    pub fid: String,
    /// The action that was reported.
    pub action: u8,
    /// Bytes of the report's data.
    pub bytes: usize,
}
