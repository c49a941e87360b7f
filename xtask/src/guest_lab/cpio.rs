//! Writes a cpio archive in the "newc" form, which the kernel unpacks as its first root file system.
//!
//! The form is in the kernel's documentation, *initramfs buffer format*: a header of thirteen hexadecimal fields, the
//! name with its NUL, and the data, each padded to four bytes. Files only of what an initramfs needs: directories,
//! regular files and symbolic links, all owned by root and dated 1970, so that the same input gives the same bytes.

use std::io::{self, Write};

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;

/// An archive being written; [`Archive::finish`] must be the last call.
pub(super) struct Archive<W> {
    sink: W,
    inode: u32,
}

impl<W: Write> Archive<W> {
    /// Starts an archive on `sink`.
    pub(super) fn new(sink: W) -> Self {
        Self { sink, inode: 0 }
    }

    /// Adds a directory; its parent must have been added before.
    ///
    /// # Errors
    /// What writing gives.
    pub(super) fn directory(&mut self, path: &str) -> io::Result<()> {
        self.entry(path, DIRECTORY | 0o755, &[])
    }

    /// Adds a file that everybody may read and run.
    ///
    /// # Errors
    /// What writing gives, and `InvalidInput` for a file of 4 GiB or more.
    pub(super) fn file(&mut self, path: &str, data: &[u8]) -> io::Result<()> {
        self.entry(path, REGULAR | 0o755, data)
    }

    /// Adds a symbolic link at `path` to `target`.
    ///
    /// # Errors
    /// What writing gives.
    pub(super) fn symlink(&mut self, path: &str, target: &str) -> io::Result<()> {
        self.entry(path, SYMLINK | 0o777, target.as_bytes())
    }

    /// Ends the archive and gives the sink back.
    ///
    /// # Errors
    /// What writing gives.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.inode = 0;
        self.entry("TRAILER!!!", 0, &[])?;
        self.sink.flush()?;
        Ok(self.sink)
    }

    fn entry(&mut self, name: &str, mode: u32, data: &[u8]) -> io::Result<()> {
        let too_long = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let size = u32::try_from(data.len()).map_err(too_long)?;
        let name_size = u32::try_from(name.len() + 1).map_err(too_long)?;
        self.inode += 1;
        let links = if mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
        // Inode, mode, uid, gid, links, mtime, size, device (2), special device (2), length of the name, checksum.
        let fields = [self.inode, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        let mut header = String::from("070701");
        for field in fields {
            header.push_str(&format!("{field:08x}"));
        }
        header.push_str(name);
        header.push('\0');
        self.padded(header.as_bytes())?;
        self.padded(data)
    }

    fn padded(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.sink.write_all(bytes)?;
        self.sink.write_all(&[0; 3][..bytes.len().next_multiple_of(4) - bytes.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_of_an_entry_starts_on_a_multiple_of_four_bytes() {
        let mut archive = Archive::new(Vec::new());
        archive.file("init", b"hello").unwrap();
        let bytes = archive.finish().unwrap();
        // 110 bytes of header and 5 of name make 115, padded to 116; 5 of data, padded to 8.
        assert_eq!(&bytes[110..116], b"init\0\0");
        assert_eq!(&bytes[116..124], b"hello\0\0\0");
        assert_eq!(&bytes[124..130], b"070701");
        assert!(bytes.len().is_multiple_of(4));
        assert!(bytes.windows(11).any(|window| window == b"TRAILER!!!\0"));
    }

    #[test]
    fn the_header_tells_mode_size_and_length_of_the_name() {
        let mut archive = Archive::new(Vec::new());
        archive.symlink("sh", "busybox").unwrap();
        let bytes = archive.finish().unwrap();
        let field = |index: usize| {
            let text = std::str::from_utf8(&bytes[6 + index * 8..14 + index * 8]).unwrap();
            u32::from_str_radix(text, 16).unwrap()
        };
        assert_eq!((field(1), field(6), field(11)), (0o120_777, 7, 3));
    }
}
