//! Proofs that a gate keeps closers out ([`Held`]) or everybody else ([`Exclusive`]). Sealed: only the gate makes them.

pub(crate) mod sealed {
    /// Names the gate of a proof.
    pub trait Proof {
        /// The gate's address.
        fn gate(&self) -> usize;
    }
}

/// A proof under which no [`Exclusive`] proof of the same gate exists, or which is one itself.
pub trait Held: sealed::Proof {}

/// A proof under which no short pass and no other proof of the same gate exists.
pub trait Exclusive: Held {}
