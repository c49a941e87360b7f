//! Version negotiation and its JSON (vfio-user protocol, *VFIO_USER_VERSION*).
//!
//! The payload is two 16-bit numbers, then optionally a NUL-terminated JSON object whose `capabilities` say
//! what the *sender* can take. Keys that are not known are ignored; a known key of the wrong type refuses the
//! message, and so does text that is not JSON.
//!
//! One key is Portcullis's own: [`Introduction`]. A server sends it to clients that sent it, and to no others.

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::MAX_DATA_XFER_SIZE;

/// Largest JSON text accepted, in bytes. Real peers send fewer than 300.
const MAX_JSON: usize = 8192;

/// A parsed `VERSION` payload, of a command or a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionMessage {
    /// Incompatible when it differs.
    pub major: u16,
    /// The lower of the two sides' decides.
    pub minor: u16,
    /// What the sender can take; the protocol's defaults where the message is silent.
    pub capabilities: Capabilities,
}

/// What the sender of a `VERSION` message can take.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// Descriptors that may accompany one message.
    pub max_msg_fds: u32,
    /// Bytes of data in one region access or DMA message.
    pub max_data_xfer_size: u32,
    /// DMA mappings at one time.
    pub max_dma_maps: u32,
    /// Page sizes of the DMA map: a mask of powers of two, in bytes.
    pub pgsizes: u64,
    /// `REGION_WRITE_MULTI` is understood.
    pub write_multiple: bool,
    /// The sender is a Portcullis, and says more of itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub portcullis: Option<Introduction>,
}

/// What one Portcullis tells another (key `portcullis`, not of the protocol; peers that do not know it pass over it).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Introduction {
    /// Of a server: no I/O of an earlier server of the same backing can still land, for instance because the backing is locked
    /// and the lock outlives the I/O. False is silence: it is not known.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub io_over: bool,
}

impl Default for Capabilities {
    /// The values that the protocol gives to a side that says nothing.
    fn default() -> Self {
        Capabilities {
            max_msg_fds: 1,
            max_data_xfer_size: MAX_DATA_XFER_SIZE,
            max_dma_maps: 65535,
            pgsizes: 4096,
            write_multiple: false,
            portcullis: None,
        }
    }
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default)]
struct Document {
    capabilities: Capabilities,
}

impl VersionMessage {
    /// Parses a `VERSION` payload.
    ///
    /// # Errors
    /// `EINVAL` when the numbers are missing or the text is too long, not terminated, not UTF-8 or not JSON.
    pub fn parse(payload: &[u8]) -> Result<VersionMessage, Errno> {
        let (&[major_0, major_1, minor_0, minor_1], text) =
            payload.split_first_chunk::<4>().ok_or(Errno::INVAL)?;
        let capabilities = if text.is_empty() { Capabilities::default() } else { parse_json(text)? };
        Ok(VersionMessage {
            major: u16::from_ne_bytes([major_0, major_1]),
            minor: u16::from_ne_bytes([minor_0, minor_1]),
            capabilities,
        })
    }
}

fn parse_json(text: &[u8]) -> Result<Capabilities, Errno> {
    if text.len() > MAX_JSON {
        return Err(Errno::INVAL);
    }
    let end = text.iter().position(|&byte| byte == 0).ok_or(Errno::INVAL)?;
    let text = text.get(..end).ok_or(Errno::INVAL)?;
    if text.is_empty() {
        return Ok(Capabilities::default());
    }
    let document: Document = serde_json::from_slice(text).map_err(|_| Errno::INVAL)?;
    Ok(document.capabilities)
}

/// The payload of a `VERSION` command or reply. Allocates; used once a session.
///
/// With every number at its largest, and without [`Capabilities::portcullis`], it stays below the 198 bytes that fit behind the
/// header in QEMU 11.1.3's receive buffer (it takes no reply longer than its own 214-byte request).
pub fn encode_version(major: u16, minor: u16, capabilities: &Capabilities) -> Vec<u8> {
    let mut payload = Vec::with_capacity(198);
    payload.extend_from_slice(&major.to_ne_bytes());
    payload.extend_from_slice(&minor.to_ne_bytes());
    let document = Document { capabilities: capabilities.clone() };
    // Numbers and a bool always serialise. Without the text the peer takes the defaults, which is safe.
    if serde_json::to_writer(&mut payload, &document).is_ok() {
        payload.push(0);
    } else {
        payload.truncate(4);
    }
    payload
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Result<VersionMessage, Errno> {
        let mut payload = vec![0, 0, 1, 0];
        payload.extend_from_slice(text);
        VersionMessage::parse(&payload)
    }

    #[test]
    fn silence_means_the_defaults() {
        for text in [&b""[..], b"\0", b"{}\0", b"{\"capabilities\":{}}\0", b"{\"other\":[1,2]}\0"] {
            assert_eq!(parse(text).unwrap().capabilities, Capabilities::default(), "{text:?}");
        }
    }

    #[test]
    fn unknown_and_legacy_keys_are_ignored() {
        let text = br#"{"capabilities":{"max_msg_fds":8,"migration":{"pgsize":4096},"twin_socket":{"supported":true}}}"#;
        let version = parse(&[&text[..], b"\0"].concat()).unwrap();
        assert_eq!(version.capabilities, Capabilities { max_msg_fds: 8, ..Capabilities::default() });
    }

    #[test]
    fn an_introduction_goes_both_ways_and_its_absence_is_nothing_on_the_wire() {
        let said = |portcullis| {
            let payload = encode_version(0, 1, &Capabilities { portcullis, ..Capabilities::default() });
            assert_eq!(VersionMessage::parse(&payload).unwrap().capabilities.portcullis, portcullis);
            String::from_utf8(payload[4..payload.len() - 1].to_vec()).unwrap()
        };
        assert!(!said(None).contains("portcullis"));
        assert!(said(Some(Introduction { io_over: false })).ends_with(r#""portcullis":{}}}"#));
        assert!(said(Some(Introduction { io_over: true })).ends_with(r#""portcullis":{"io_over":true}}}"#));
        let newer = parse(b"{\"capabilities\":{\"portcullis\":{\"io_over\":true,\"more\":[1]}}}\0").unwrap();
        assert_eq!(newer.capabilities.portcullis, Some(Introduction { io_over: true }));
    }

    #[test]
    fn malformed_text_is_refused() {
        let deep = [b"[".repeat(4000), b"\0".to_vec()].concat();
        let long = [b" ".repeat(MAX_JSON), b"{}\0".to_vec()].concat();
        for text in [
            &b"{}"[..],
            b"{\0",
            b"\xff\xfe\0",
            b"{\"capabilities\":{\"max_msg_fds\":-1}}\0",
            b"{\"capabilities\":{\"max_msg_fds\":\"many\"}}\0",
            b"{\"capabilities\":7}\0",
            b"{\"capabilities\":{\"portcullis\":7}}\0",
            b"{\"capabilities\":{\"portcullis\":{\"io_over\":1}}}\0",
            b"[]x\0",
            &deep,
            &long,
        ] {
            assert_eq!(parse(text), Err(Errno::INVAL));
        }
    }

    #[test]
    fn a_payload_shorter_than_the_numbers_is_refused() {
        for length in 0..4 {
            assert_eq!(VersionMessage::parse(&vec![0; length]), Err(Errno::INVAL));
        }
    }

    #[test]
    fn the_longest_version_message_fits_the_buffer_of_qemu() {
        let largest = Capabilities {
            max_msg_fds: u32::MAX,
            max_data_xfer_size: u32::MAX,
            max_dma_maps: u32::MAX,
            pgsizes: u64::MAX,
            ..Capabilities::default()
        };
        let payload = encode_version(u16::MAX, u16::MAX, &largest);
        assert!(payload.len() + 16 <= 214, "{}", payload.len());
        assert_eq!(VersionMessage::parse(&payload).unwrap().capabilities, largest);
    }
}
