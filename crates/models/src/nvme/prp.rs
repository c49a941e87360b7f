//! The PRP walk: from a command's two entries to the stretches of guest memory it means.
//!
//! Pure but for the reader that fetches list pages, so every rule is tested without a guest. A list is as long as
//! the transfer and no longer, whatever its entries say: each list page read brings at least one data page or is
//! the one short page a list may begin with, so the walk ends. Stretches that touch are joined: most guests lay a
//! large buffer out in one piece, and one look-up then does for all of it.
//!
//! NVMe 1.4 s4.3 *Physical Region Page Entry and List*.

use super::limits::{MAX_SEGMENTS, MAX_TRANSFER, PAGE, PAGE_LEN};

/// A stretch of guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    /// Its first address as the device sees it.
    pub(super) iova: u64,
    /// Its length in bytes, never 0.
    pub(super) len: u64,
}

/// Why a walk failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WalkError<E> {
    /// An entry has an offset it may not have.
    Offset,
    /// The transfer is longer than MDTS allows.
    TooLong,
    /// A list page could not be read.
    Unreadable(E),
}

/// Buffers of a walk, made when first needed and kept from command to command.
#[derive(Debug, Default)]
pub(super) struct Walk {
    segments: Vec<Segment>,
    /// A page, or nothing yet.
    list: Vec<u8>,
}

impl Walk {
    #[cold]
    fn make_room(&mut self) {
        self.segments.reserve_exact(MAX_SEGMENTS);
        self.list.resize(PAGE_LEN, 0);
    }

    /// The stretches found by the last successful [`Walk::run`], in the order of the data.
    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Walks the entries `prp1` and `prp2` of a transfer of `len` bytes.
    ///
    /// `read_list` fetches part of one list page: `(address, buffer)`. Each list entry is read exactly once.
    ///
    /// # Errors
    /// [`WalkError`]; the segments are of no use then.
    #[inline]
    pub(super) fn run<E>(
        &mut self,
        prp1: u64,
        prp2: u64,
        len: u64,
        read_list: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<(), WalkError<E>> {
        if self.list.is_empty() {
            self.make_room();
        }
        self.segments.clear();
        if len > MAX_TRANSFER {
            return Err(WalkError::TooLong);
        }
        // The first entry may start anywhere in its page, on a dword.
        if !prp1.is_multiple_of(4) {
            return Err(WalkError::Offset);
        }
        let first = len.min(PAGE - prp1 % PAGE);
        self.push(prp1, first);
        let rest = len - first;
        if rest == 0 {
            return Ok(());
        }
        if rest <= PAGE {
            return self.push_page(prp2, rest);
        }
        self.walk_list(prp2, rest, read_list)
    }

    /// The list that starts at `list`, for the `rest` of the transfer (more than one page).
    fn walk_list<E>(
        &mut self,
        mut list: u64,
        mut rest: u64,
        mut read_list: impl FnMut(u64, &mut [u8]) -> Result<(), E>,
    ) -> Result<(), WalkError<E>> {
        // Only the first list may start inside a page, and then on a qword.
        if !list.is_multiple_of(8) {
            return Err(WalkError::Offset);
        }
        while rest > 0 {
            let room = (PAGE - list % PAGE) / 8;
            let pages = rest.div_ceil(PAGE);
            // If the pages do not fit, the last entry of this list page points to the next list page.
            let (count, chained) = if pages > room { (room, true) } else { (pages, false) };
            #[expect(clippy::cast_possible_truncation, reason = "at most 512 entries of 8 bytes")]
            let bytes = (count * 8) as usize;
            let Some(buffer) = self.list.get_mut(..bytes) else { return Err(WalkError::Offset) };
            read_list(list, buffer).map_err(WalkError::Unreadable)?;
            let data = if chained { bytes - 8 } else { bytes };
            for at in (0..data).step_by(8) {
                let here = rest.min(PAGE);
                let page = self.entry(at);
                self.push_page(page, here)?;
                rest -= here;
            }
            if chained {
                list = self.entry(bytes - 8);
                if !list.is_multiple_of(PAGE) {
                    return Err(WalkError::Offset);
                }
            }
        }
        Ok(())
    }

    fn entry(&self, at: usize) -> u64 {
        let mut entry = [0; 8];
        if let Some(bytes) = self.list.get(at..at + 8) {
            entry.copy_from_slice(bytes);
        }
        u64::from_le_bytes(entry)
    }

    fn push_page<E>(&mut self, page: u64, len: u64) -> Result<(), WalkError<E>> {
        if !page.is_multiple_of(PAGE) {
            return Err(WalkError::Offset);
        }
        self.push(page, len);
        Ok(())
    }

    #[inline]
    fn push(&mut self, iova: u64, len: u64) {
        if let Some(last) = self.segments.last_mut()
            && last.iova.checked_add(last.len) == Some(iova)
        {
            last.len += len;
            return;
        }
        self.segments.push(Segment { iova, len });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Lists = BTreeMap<u64, Vec<u64>>;

    fn walk(prp1: u64, prp2: u64, len: u64, lists: &Lists) -> Result<Vec<(u64, u64)>, WalkError<()>> {
        let mut walk = Walk::default();
        walk.run(prp1, prp2, len, |at, out| {
            let entries = lists.get(&at).ok_or(())?;
            for (chunk, entry) in out.chunks_exact_mut(8).zip(entries.iter().chain(std::iter::repeat(&0))) {
                chunk.copy_from_slice(&entry.to_le_bytes());
            }
            Ok(())
        })?;
        Ok(walk.segments().iter().map(|segment| (segment.iova, segment.len)).collect())
    }

    #[test]
    fn one_entry_covers_what_fits_its_page() {
        assert_eq!(walk(0x1000, 0, 4096, &Lists::new()), Ok(vec![(0x1000, 4096)]));
        assert_eq!(walk(0x1ffc, 0, 4, &Lists::new()), Ok(vec![(0x1ffc, 4)]));
    }

    #[test]
    fn the_second_entry_is_the_second_page() {
        assert_eq!(walk(0x1e00, 0x9000, 4096, &Lists::new()), Ok(vec![(0x1e00, 0x200), (0x9000, 0xe00)]));
    }

    #[test]
    fn a_list_gives_the_pages_after_the_first_and_touching_pages_are_joined() {
        let lists = Lists::from([(0x5008, vec![0x2000, 0x3000, 0x9000])]);
        assert_eq!(walk(0x1000, 0x5008, 4 * 4096, &lists), Ok(vec![(0x1000, 3 * 4096), (0x9000, 4096)]));
    }

    #[test]
    fn the_last_entry_of_a_full_list_page_points_to_the_next() {
        let lists = Lists::from([(0x5ff0, vec![0x2_0000, 0x7000]), (0x7000, vec![0x4_0000, 0x6_0000])]);
        let found = walk(0x1000, 0x5ff0, 4 * 4096, &lists);
        assert_eq!(found, Ok(vec![(0x1000, 4096), (0x2_0000, 4096), (0x4_0000, 4096), (0x6_0000, 4096)]));
    }

    #[test]
    fn entries_that_exactly_fill_a_list_page_are_data_and_no_pointer() {
        let lists = Lists::from([(0x5ff0, vec![0x2_0000, 0x4_0000])]);
        assert_eq!(
            walk(0x1000, 0x5ff0, 3 * 4096, &lists),
            Ok(vec![(0x1000, 4096), (0x2_0000, 4096), (0x4_0000, 4096)])
        );
    }

    #[test]
    fn a_list_page_that_points_to_itself_ends_with_the_transfer() {
        let mut page = vec![0x10_0000; 512];
        page[511] = 0x7000;
        let lists = Lists::from([(0x5ff8, vec![0x7000]), (0x7000, page)]);
        let found = walk(0x1000, 0x5ff8, MAX_TRANSFER, &lists).unwrap();
        assert_eq!(found.iter().map(|(_, len)| len).sum::<u64>(), MAX_TRANSFER);
    }

    #[test]
    fn the_largest_transfer_needs_no_more_room_than_there_is() {
        let pages: Vec<u64> = (0..256).map(|page| 0x100_0000 + page * 8192).collect();
        let lists = Lists::from([(0x5000, pages)]);
        let mut walk = Walk::default();
        walk.make_room();
        let before = walk.segments.capacity();
        walk.run(0x1004, 0x5000, MAX_TRANSFER, |at, out| {
            for (chunk, entry) in out.chunks_exact_mut(8).zip(&lists[&at]) {
                chunk.copy_from_slice(&entry.to_le_bytes());
            }
            Ok::<(), ()>(())
        })
        .unwrap();
        assert_eq!((walk.segments().len(), walk.segments.capacity()), (MAX_SEGMENTS, before));
    }

    #[test]
    fn misplaced_offsets_are_refused() {
        let lists = Lists::from([(0x5000, vec![0x2000, 0x3004]), (0x6ff8, vec![0x7008]), (0x7008, vec![0])]);
        assert_eq!(walk(0x1002, 0, 512, &lists), Err(WalkError::Offset), "first entry");
        assert_eq!(walk(0x1000, 0x2004, 8192, &lists), Err(WalkError::Offset), "second entry");
        assert_eq!(walk(0x1000, 0x5004, 3 * 4096, &lists), Err(WalkError::Offset), "list pointer");
        assert_eq!(walk(0x1000, 0x5000, 3 * 4096, &lists), Err(WalkError::Offset), "list entry");
        assert_eq!(walk(0x1000, 0x6ff8, 3 * 4096, &lists), Err(WalkError::Offset), "chain pointer");
    }

    #[test]
    fn an_unreadable_list_and_an_oversized_transfer_are_told_apart() {
        assert_eq!(walk(0x1000, 0x5000, 3 * 4096, &Lists::new()), Err(WalkError::Unreadable(())));
        assert_eq!(walk(0x1000, 0x5000, MAX_TRANSFER + 512, &Lists::new()), Err(WalkError::TooLong));
    }
}
