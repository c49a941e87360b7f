//! Saving an endpoint-test function and taking it up again: registers, the level of INTx, and what its memories hold.
//!
//! Of a memory the pages are saved that hold anything but zeroes. A function with more than [`MOST_MEMORY`] behind its memory
//! BAR cannot be saved. What a consumer stores through a mapping of its own after the saving is lost with the reset.

use gate::Quiesced;
use mapping::Memory;
use pci_core::{Preserve, PreserveError};

use super::function::Endpoint;
use super::registers::Values;
use crate::saved::{Field, Kind, Reader, Writer};

const KIND: Kind = Kind { name: *b"PCLSendp", version: 1 };
/// Bytes of the memory BAR that can be saved at most.
const MOST_MEMORY: u64 = 64 << 20;
const PAGE: usize = 4096;

/// What a memory holds: its size, and the pages that are not all zeroes, in ascending order.
#[derive(Debug)]
struct Pages {
    size: u64,
    pages: Vec<Page>,
}

#[derive(Debug)]
struct Page {
    number: u32,
    data: Box<[u8; PAGE]>,
}

impl Pages {
    fn of(memory: &Memory) -> Pages {
        let size = memory.size();
        let held = |number: u32| {
            let mut data = Box::new([0; PAGE]);
            memory.read(u64::from(number) * PAGE as u64, &mut *data);
            data.iter().any(|byte| *byte != 0).then_some(Page { number, data })
        };
        let count = u32::try_from(size.div_ceil(PAGE as u64)).unwrap_or(u32::MAX);
        Pages { size, pages: (0..count).filter_map(held).collect() }
    }

    /// Whether a memory of `size` bytes can hold this.
    fn fit(&self, size: u64) -> bool {
        let ascending =
            self.pages.windows(2).all(|pair| matches!(pair, [low, high] if low.number < high.number));
        let inside = self.pages.last().is_none_or(|last| u64::from(last.number) * (PAGE as u64) < size);
        self.size == size && ascending && inside
    }

    /// Writes them to memory that was cleared.
    fn put_back(&self, memory: &Memory) {
        for Page { number, data } in &self.pages {
            memory.write(u64::from(*number) * PAGE as u64, &**data);
        }
    }
}

impl Field for Page {
    fn put(&self, out: &mut Writer) {
        self.number.put(out);
        out.bytes(&*self.data);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        let number = Field::take(from)?;
        let data = Box::new(from.bytes(PAGE)?.try_into().ok()?);
        Some(Page { number, data })
    }
}

impl Field for Pages {
    fn put(&self, out: &mut Writer) {
        self.size.put(out);
        out.list(self.pages.iter());
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Some(Pages { size: Field::take(from)?, pages: from.list(usize::MAX)? })
    }
}

impl Preserve for Endpoint {
    fn save(&self, _quiesced: &Quiesced<'_>) -> Result<Vec<u8>, PreserveError> {
        if self.memory().size() > MOST_MEMORY {
            return Err(PreserveError::NotNow("the memory BAR is larger than can be saved"));
        }
        KIND.seal(|out| {
            self.registers().values().put(out);
            Pages::of(self.memory()).put(out);
            Pages::of(self.history().memory()).put(out);
        })
    }

    fn restore(&self, quiesced: &Quiesced<'_>, state: &[u8]) -> Result<(), PreserveError> {
        let (values, memory, history): (Values, Pages, Pages) = KIND.open(state, Field::take)?;
        if !memory.fit(self.memory().size()) || !history.fit(self.history().memory().size()) {
            return Err(PreserveError::OtherDevice("its memory has another size"));
        }
        for (pages, behind) in [(&memory, self.memory()), (&history, self.history().memory())] {
            // What was never written takes no memory afterwards either.
            if !pages.pages.is_empty() {
                behind
                    .set_up()
                    .map_err(|_| PreserveError::NotNow("the system has no memory for the function"))?;
            }
        }
        self.registers().put_back(&values);
        memory.put_back(self.memory());
        history.put_back(self.history().memory());
        self.port().interrupts().set_intx(quiesced, self.registers().line());
        Ok(())
    }
}
