//! Error numbers, as consumers of Linux interfaces know them.

use std::fmt;

/// An error number as Linux numbers them on x86-64: what a refused request answers with. Positive here; a system call or a
/// sysfs file answers with its negative.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Errno(i32);

/// Declares the numbers and the table of their names, so that neither can miss one of the other.
macro_rules! errnos {
    ($($(#[$doc:meta])* $name:ident = $number:literal;)*) => {
        impl Errno {
            $($(#[$doc])* pub const $name: Errno = Errno($number);)*

            /// The symbol, such as "EINVAL"; `None` for a number that this project never answers with.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($number => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

errnos! {
    /// The caller may not do this.
    EPERM = 1;
    /// Nothing there to act on.
    ENOENT = 2;
    /// The wait was cancelled.
    EINTR = 4;
    /// The device did not answer, or its memory is disabled.
    EIO = 5;
    /// No such device or address.
    ENXIO = 6;
    /// Not a valid file descriptor.
    EBADF = 9;
    /// Contention; try again.
    EAGAIN = 11;
    /// Memory or address space ran out.
    ENOMEM = 12;
    /// The caller lacks the right to do this.
    EACCES = 13;
    /// The register does not exist, or the address is no memory of the caller.
    EFAULT = 14;
    /// Somebody else uses it.
    EBUSY = 16;
    /// It is there already, or overlaps what is.
    EEXIST = 17;
    /// The function is gone, or the file cannot be mapped.
    ENODEV = 19;
    /// The request is malformed or out of range.
    EINVAL = 22;
    /// The object does not offer this action.
    ENOTTY = 25;
    /// A limit was reached.
    ENOSPC = 28;
    /// The answer is outside what can be expressed.
    ERANGE = 34;
    /// Not offered by this implementation.
    ENOSYS = 38;
    /// The other side breaks the protocol.
    EPROTO = 71;
    /// The device lacks the capability that this needs.
    EPROTONOSUPPORT = 93;
    /// Not supported.
    EOPNOTSUPP = 95;
    /// The deadline passed.
    ETIMEDOUT = 110;
}

impl Errno {
    /// The number of a failed system call, positive.
    #[must_use]
    pub const fn from_raw(number: i32) -> Errno {
        Errno(number)
    }

    /// The number, positive.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0
    }
}

impl From<Errno> for i32 {
    fn from(errno: Errno) -> i32 {
        errno.0
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", std::io::Error::from_raw_os_error(self.0))
    }
}

impl std::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_knows_its_symbol_and_its_text() {
        assert_eq!((Errno::ENOTTY.raw(), Errno::ENOTTY.name()), (25, Some("ENOTTY")));
        assert_eq!(Errno::from_raw(22), Errno::EINVAL);
        assert_eq!(Errno::from_raw(4000).name(), None);
        assert!(Errno::EINVAL.to_string().starts_with("Invalid argument"), "{}", Errno::EINVAL);
    }
}
