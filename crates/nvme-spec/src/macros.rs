//! The two shapes that NVMe's facts take: a table of codes, and bit fields in a register or command dword.

/// An enum over a code with its specification name; unknown codes are an error, never a guess.
macro_rules! code_enum {
    ($(#[$outer:meta])* $name:ident: $repr:ty, unknown $unknown:ident {
        $($(#[$inner:meta])* $variant:ident = $code:literal, $text:literal;)*
    }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr($repr)]
        pub enum $name {
            $($(#[$inner])* $variant = $code,)*
        }

        impl $name {
            /// Every code of the table, ascending.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code on the wire.
            #[must_use]
            pub const fn code(self) -> $repr {
                self as $repr
            }

            /// The specification's name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                }
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.name())
            }
        }

        impl TryFrom<$repr> for $name {
            type Error = $unknown;

            fn try_from(code: $repr) -> Result<Self, $unknown> {
                match code {
                    $($code => Ok(Self::$variant),)*
                    _ => Err($unknown(code)),
                }
            }
        }

        #[doc = concat!("A code that is not in the table of [`", stringify!($name), "`].")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $unknown(
            /// The code.
            pub $repr,
        );

        impl core::fmt::Display for $unknown {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), " has no code {:#04x}"), self.0)
            }
        }

        impl core::error::Error for $unknown {}
    };
}

/// A register or command dword: a newtype over its bits, with a getter and a `with_` builder for each field. A builder cuts a
/// value that is wider than its field.
macro_rules! bit_fields {
    ($(#[$outer:meta])* $name:ident($raw:ty) {
        $($(#[$inner:meta])* $get:ident, $with:ident: $kind:tt = $low:literal $(, $mask:literal)?;)*
    }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
        pub struct $name(
            /// The bits as they are on the wire.
            pub $raw,
        );

        impl $name {
            $(bit_fields!(@field $(#[$inner])* $get, $with: $kind, $raw, $low $(, $mask)?);)*
        }
    };
    (@field $(#[$inner:meta])* $get:ident, $with:ident: bool, $raw:ty, $low:literal) => {
        $(#[$inner])*
        #[must_use]
        pub const fn $get(self) -> bool {
            self.0 >> $low & 1 != 0
        }

        #[doc = concat!("The same bits with [`", stringify!($get), "`](Self::", stringify!($get), ") replaced.")]
        #[must_use]
        pub const fn $with(self, value: bool) -> Self {
            Self(self.0 & !(1 << $low) | (value as $raw) << $low)
        }
    };
    (@field $(#[$inner:meta])* $get:ident, $with:ident: $kind:tt, $raw:ty, $low:literal, $mask:literal) => {
        $(#[$inner])*
        #[must_use]
        pub const fn $get(self) -> $kind {
            (self.0 >> $low & $mask) as $kind
        }

        #[doc = concat!("The same bits with [`", stringify!($get), "`](Self::", stringify!($get), ") replaced.")]
        #[must_use]
        pub const fn $with(self, value: $kind) -> Self {
            Self(self.0 & !($mask << $low) | (value as $raw & $mask) << $low)
        }
    };
}

/// `Default` as all zeroes, for structures whose arrays are too long for the derive.
macro_rules! zeroed_default {
    ($($name:ident),*) => {
        $(impl Default for $name {
            fn default() -> Self {
                Self::new_zeroed()
            }
        })*
    };
}
