//! The names that QEMU knows devices by.

use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// What the ids that Portcullis makes begin with.
const OURS: &str = "portcullis-";

/// Most bytes of an id. QEMU takes longer ones; nobody can read them.
const MAX_LENGTH: usize = 128;

/// The id of a device in QEMU.
///
/// One that is made of a slot's name is the same after a restart of the daemon, so what was plugged before is recognised.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(String);

/// A text that QEMU would not take for an id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "this is no id for a device in QEMU: use a letter, then up to {} letters, digits, `-`, `.` and `_`",
    MAX_LENGTH - 1
)]
pub struct InvalidId;

impl DeviceId {
    /// The id of what is in the slot `name`.
    ///
    /// # Errors
    /// [`InvalidId`] when the name has other characters than an id may have, or too many.
    pub fn of_slot(name: &str) -> Result<DeviceId, InvalidId> {
        if name.is_empty() { Err(InvalidId) } else { format!("{OURS}{name}").parse() }
    }

    /// The slot whose name this id is made of; none for an id that somebody chose.
    pub fn slot(&self) -> Option<&str> {
        self.0.strip_prefix(OURS).filter(|name| !name.is_empty())
    }

    /// The id as QEMU is told it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DeviceId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<DeviceId, InvalidId> {
        let mut bytes = text.bytes();
        let begins_well = bytes.next().is_some_and(|first| first.is_ascii_alphabetic());
        let goes_on = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        let sound = begins_well && goes_on && text.len() <= MAX_LENGTH;
        sound.then(|| DeviceId(text.to_owned())).ok_or(InvalidId)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_made_of_a_slots_name_gives_the_name_back() {
        let id = DeviceId::of_slot("disk-0_a").unwrap();
        assert_eq!((id.as_str(), id.slot()), ("portcullis-disk-0_a", Some("disk-0_a")));
        let again: DeviceId = id.as_str().parse().unwrap();
        assert_eq!(again, id);
        assert_eq!("net0".parse::<DeviceId>().unwrap().slot(), None);
    }

    #[test]
    fn what_qemu_takes_for_no_id_or_for_a_path_is_refused() {
        let long = "a".repeat(MAX_LENGTH + 1);
        for text in ["", "0a", "-a", "a/b", "a b", "é", "a\n", "a\"", long.as_str()] {
            assert_eq!(text.parse::<DeviceId>(), Err(InvalidId), "{text:?}");
        }
        assert_eq!(DeviceId::of_slot(""), Err(InvalidId));
        assert_eq!(DeviceId::of_slot("../x"), Err(InvalidId));
    }
}
