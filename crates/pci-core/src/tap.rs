//! A tap: who sees accesses of consumers before anybody else, and may spoil them.

use crate::config::BarIndex;
use gate::ThreadToken;

/// What an access goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TapAt {
    /// Configuration space.
    Config,
    /// A BAR, or the ROM.
    Bar(BarIndex),
    /// The `nth` of [`Device::regions`](crate::Device::regions).
    Own(usize),
}

/// What becomes of a read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadVerdict {
    /// It goes on.
    #[default]
    Pass,
    /// It is answered with all-ones, as by a device that is not there: whether that is a sign of failure is looked at.
    AllOnes,
    /// It fails ([`AccessError::Injected`](crate::AccessError::Injected)).
    Fail,
}

/// What becomes of a write.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WriteVerdict {
    /// It goes on.
    #[default]
    Pass,
    /// It is dropped, and whoever wrote is told that it was done.
    Drop,
    /// It is done twice, one right after the other.
    Twice,
}

/// Judges the accesses that enter a function's gate by themselves, before they do: those of
/// [`Function::read_bar`](crate::Function::read_bar) and its like, which take the thread's token. Those under a pass that the caller
/// holds, and what a consumer does through a mapping, pass by.
///
/// Called from several threads at once, with nothing held and whatever the gate's state. It may wait, as long as it bounds that
/// itself; the access's own deadline may pass meanwhile. Offset and length are as the consumer chose them, and may lie outside.
pub trait Tap: Send + Sync {
    /// Somebody reads `length` bytes at `offset`.
    fn read(&self, token: &mut ThreadToken, at: TapAt, offset: u64, length: usize) -> ReadVerdict;

    /// Somebody writes `data` at `offset`.
    fn write(&self, token: &mut ThreadToken, at: TapAt, offset: u64, data: &[u8]) -> WriteVerdict;
}
