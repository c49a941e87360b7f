//! Ranks: the order in which locks are taken, and the ranks of this crate.

/// A lock's place in the order of all locks. Made with [`ranks!`](crate::ranks), never constructed.
pub trait Rank: 'static {
    /// Locks are taken in ascending order, and no two of one number together.
    const NUMBER: u8;
    /// The name in `docs/locks.md`, and in what an operator is shown.
    const NAME: &'static str;
}

/// A lock of rank `Next` may be taken while one of this rank is held.
///
/// Declared pair by pair, in the crate of the lower rank: a pair that nobody has thought about does not compile.
/// [`ranks!`](crate::ranks) checks that the numbers ascend, so there is no circle.
#[diagnostic::on_unimplemented(
    message = "a lock of rank `{Next}` is not taken while one of rank `{Self}` is held",
    label = "out of order",
    note = "locks are taken in ascending rank; `docs/locks.md` has the order, `ranks!` declares the pairs"
)]
pub trait Before<Next: Rank>: Rank {}

/// A rank as data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RankInfo {
    /// See [`Rank::NUMBER`].
    pub number: u8,
    /// See [`Rank::NAME`].
    pub name: &'static str,
}

/// Declares the ranks of a crate, each `Name = number, "name"`, with `before [..]` for the ranks that are taken while it
/// is held, and `ALL`, the list of them.
///
/// ```
/// mod ranks {
///     gate::ranks! {
///         /// The plan of a change.
///         pub Plan = 10, "plan", before [Table];
///         /// What is published.
///         pub Table = 20, "table";
///     }
/// }
/// ```
#[macro_export]
macro_rules! ranks {
    ($($(#[$doc:meta])* $vis:vis $name:ident = $number:literal, $text:literal $(, before [$($next:ty),+])?;)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug)]
            $vis enum $name {}
            impl $crate::lock::Rank for $name {
                const NUMBER: u8 = $number;
                const NAME: &'static str = $text;
            }
            $($(
                impl $crate::lock::Before<$next> for $name {}
                const _: () = assert!($number < <$next as $crate::lock::Rank>::NUMBER, "ranks must ascend");
            )+)?
        )+

        /// All ranks of this crate, for the test that compares them with `docs/locks.md`.
        pub const ALL: &[$crate::lock::RankInfo] =
            &[$($crate::lock::RankInfo { number: $number, name: $text }),+];
    };
}

/// The ranks of this crate.
pub mod ranks {
    crate::ranks! {
        /// One gate's core: never held while waiting or while calling anybody.
        pub Gate = 50, "gate";
        /// Which values of a `Published` are there.
        pub Published = 86, "published";
        /// Where a thread waits, for those who may cancel it; a leaf.
        pub Cancel = 88, "cancel";
        /// What a thread's record says of it; a leaf.
        pub ThreadEntry = 90, "thread entry";
        /// Which gates there are, for listing them; a leaf.
        pub GateList = 92, "gate list";
    }
}
