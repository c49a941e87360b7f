//! The state of a model as bytes: the envelope that all models share. Fields are in [`codec`].
//!
//! ```text
//! kind (8 bytes) | version (u32) | length of the body (u32) | CRC-32 of the body (u32) | body
//! ```
//! All numbers are little endian. There is one version of each kind at a time: state is for a device of the same
//! version, and everything else is refused. The checksum finds accidents; a body that passes it may still say
//! anything, so whoever restores one checks every field before the device is touched.
//!
//! Concurrency: none; values only.

mod codec;

pub(crate) use codec::{Field, Reader, Writer, fields};

use pci_core::PreserveError;

/// Bytes before the body.
const HEADER: usize = 20;
/// The longest body, in bytes: bounds what restoring reads.
pub(crate) const MAX_BODY: usize = 80 << 20;

/// What the state of one model is known by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Eight letters.
    pub(crate) name: [u8; 8],
    /// Of the body: another one is another format.
    pub(crate) version: u32,
}

impl Kind {
    /// The whole string of a state whose fields `put` writes.
    ///
    /// # Errors
    /// [`PreserveError::NotNow`]: it would be longer than can be restored.
    pub(crate) fn seal(self, put: impl FnOnce(&mut Writer)) -> Result<Vec<u8>, PreserveError> {
        let mut out = Writer::default();
        self.name.put(&mut out);
        self.version.put(&mut out);
        [0_u32; 2].put(&mut out);
        put(&mut out);
        let mut bytes = out.into_bytes();
        let Some((header, body)) = bytes.split_at_mut_checked(HEADER) else {
            return Err(PreserveError::NotNow("the state has no header"));
        };
        let too_long = PreserveError::NotNow("the device holds more than can be saved");
        let length = u32::try_from(body.len()).ok().filter(|_| body.len() <= MAX_BODY).ok_or(too_long)?;
        let (_, sums) = header.split_at_mut(HEADER - 8);
        let (place, sum) = sums.split_at_mut(4);
        place.copy_from_slice(&length.to_le_bytes());
        sum.copy_from_slice(&crc32fast::hash(body).to_le_bytes());
        Ok(bytes)
    }

    /// What `take` makes of the body of `bytes`, all of it.
    ///
    /// # Errors
    /// [`PreserveError`]: the bytes are not of this kind and version, or are damaged.
    pub(crate) fn open<T>(
        self,
        bytes: &[u8],
        take: impl FnOnce(&mut Reader<'_>) -> Option<T>,
    ) -> Result<T, PreserveError> {
        let mut header = Reader::new(bytes);
        let cut = PreserveError::Malformed("it is cut off");
        let name = <[u8; 8]>::take(&mut header).ok_or(cut)?;
        if name != self.name {
            return Err(PreserveError::OtherDevice("it is of another kind"));
        }
        let found = u32::take(&mut header).ok_or(cut)?;
        if found != self.version {
            return Err(PreserveError::Version { found, known: self.version });
        }
        let [length, sum] = <[u32; 2]>::take(&mut header).ok_or(cut)?;
        let body = header.rest();
        if u32::try_from(body.len()).ok() != Some(length) || body.len() > MAX_BODY {
            return Err(PreserveError::Malformed("its length is not what it says"));
        }
        if crc32fast::hash(body) != sum {
            return Err(PreserveError::Malformed("its checksum is not what it says"));
        }
        let mut body = Reader::new(body);
        take(&mut body)
            .filter(|_| body.rest().is_empty())
            .ok_or(PreserveError::Malformed("its fields do not fit together"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind { name: *b"PCLStest", version: 3 };

    fn sealed() -> Vec<u8> {
        KIND.seal(|out| (7_u32, Some(9_u16)).put(out)).unwrap()
    }

    fn open(bytes: &[u8]) -> Result<(u32, Option<u16>), PreserveError> {
        KIND.open(bytes, Field::take)
    }

    #[test]
    fn what_was_sealed_is_opened_and_a_change_of_any_byte_or_length_is_refused() {
        let good = sealed();
        assert_eq!(open(&good), Ok((7, Some(9))));
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            assert!(open(&bad).is_err(), "byte {at}");
            assert!(open(&good[..at]).is_err(), "cut off at {at}");
        }
        let longer = [good.as_slice(), &[0]].concat();
        assert!(open(&longer).is_err());
    }

    #[test]
    fn another_kind_or_version_is_told_as_such() {
        let other = Kind { version: 4, ..KIND }.seal(|out| 7_u32.put(out)).unwrap();
        assert_eq!(open(&other), Err(PreserveError::Version { found: 4, known: 3 }));
        let other = Kind { name: *b"PCLSelse", ..KIND }.seal(|out| 7_u32.put(out)).unwrap();
        assert_eq!(open(&other), Err(PreserveError::OtherDevice("it is of another kind")));
    }

    #[test]
    fn what_is_left_over_is_refused() {
        let bytes = KIND.seal(|out| (7_u32, Some(9_u16), 1_u8).put(out)).unwrap();
        assert_eq!(open(&bytes), Err(PreserveError::Malformed("its fields do not fit together")));
    }
}
