//! Configuration space as text that `lspci -F` reads.
//!
//! One line names the function ("00:01.0 Class: text"), then rows of 16 bytes follow ("00: 86 80 ..."), and an empty line
//! ends it. Formatting only: reading the bytes, through the gate, is the caller's.

use std::fmt::{self, Write};

const ROW: usize = 16;
/// The length of the part every PCI function has, in bytes.
const CONVENTIONAL: usize = 256;

/// Writes one function.
///
/// `address` is the function's address as lspci prints it ("00:01.0" or "0000:00:01.0"), `title` the text after it.
/// `bytes` is the configuration space from offset 0; whole rows are printed and a partial last row is dropped, since
/// lspci refuses one. If everything after the first 256 bytes reads 0 (there are no extended capabilities), only those
/// 256 are printed, as lspci does itself.
///
/// # Errors
/// Only those of `out`.
pub fn write_function(out: &mut impl Write, address: &str, title: &str, bytes: &[u8]) -> fmt::Result {
    // A line break in the title would start a row that is none.
    let title = title.lines().next().unwrap_or_default();
    writeln!(out, "{address} {title}")?;
    for (row, bytes) in printed(bytes).chunks_exact(ROW).enumerate() {
        write!(out, "{:02x}:", row * ROW)?;
        for byte in bytes {
            write!(out, " {byte:02x}")?;
        }
        out.write_char('\n')?;
    }
    out.write_char('\n')
}

fn printed(bytes: &[u8]) -> &[u8] {
    match bytes.split_at_checked(CONVENTIONAL) {
        Some((conventional, extended)) if extended.iter().all(|byte| *byte == 0) => conventional,
        _ => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        let mut out = String::new();
        write_function(&mut out, "00:01.0", "Non-Volatile memory controller: test", bytes).unwrap();
        out
    }

    #[test]
    fn a_row_names_its_offset_and_sixteen_bytes() {
        let mut bytes = [0; 64];
        bytes[..4].copy_from_slice(&[0x86, 0x80, 0x45, 0x58]);
        let text = text(&bytes);
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("00:01.0 Non-Volatile memory controller: test"));
        assert_eq!(lines.next(), Some("00: 86 80 45 58 00 00 00 00 00 00 00 00 00 00 00 00"));
        assert_eq!(lines.nth(2), Some("30: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"));
        assert_eq!(lines.next(), Some(""), "an empty line ends a function");
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn extended_space_is_printed_only_if_there_is_something_in_it() {
        let mut bytes = vec![0; 4096];
        assert_eq!(text(&bytes).lines().count(), 1 + 16 + 1);
        bytes[0x100] = 1;
        let text = text(&bytes);
        assert_eq!(text.lines().count(), 1 + 256 + 1);
        assert!(text.contains("\n100: 01 00"));
        assert!(text.contains("\nff0: 00"));
    }

    #[test]
    fn a_title_cannot_add_lines() {
        let mut out = String::new();
        write_function(&mut out, "00:01.0", "a\n00: ff", &[]).unwrap();
        assert_eq!(out, "00:01.0 a\n\n");
    }
}
