//! The DMA map against a plain list of intervals.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "test code, with sizes of its own choice"
)]

mod world;

use assign::DmaError;
use gate::ThreadToken;
use libc::{EEXIST, EINVAL, ENOENT};
use proptest::prelude::*;
use world::*;

const PAGE: u64 = 4096;
/// Small, so that mappings meet.
const PAGES: u64 = 24;

#[derive(Clone, Debug)]
enum Step {
    Map { page: u64, pages: u64, flags: u32, file: bool },
    Unmap { page: u64, pages: u64 },
    UnmapAll,
    Read { iova: u64, len: usize },
    Write { iova: u64, len: usize, value: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    let byte = 0..PAGES * PAGE;
    prop_oneof![
        4 => (0..PAGES, 0..6u64, prop_oneof![Just(READ), Just(WRITE), Just(RW), Just(RW)], prop::bool::weighted(0.8))
            .prop_map(|(page, pages, flags, file)| Step::Map { page, pages, flags, file }),
        2 => (0..PAGES, 0..12u64).prop_map(|(page, pages)| Step::Unmap { page, pages }),
        1 => Just(Step::UnmapAll),
        4 => (byte.clone(), 0..12_000usize).prop_map(|(iova, len)| Step::Read { iova, len }),
        4 => (byte, 0..12_000usize, any::<u8>()).prop_map(|(iova, len, value)| Step::Write { iova, len, value }),
    ]
}

struct Interval {
    start: u64,
    end: u64,
    flags: u32,
    bytes: Option<Vec<u8>>,
}

#[derive(Default)]
struct Model(Vec<Interval>);

impl Model {
    fn map(&mut self, start: u64, size: u64, flags: u32, file: bool) -> Result<(), i32> {
        if size == 0 {
            return Err(EINVAL);
        }
        if self.0.iter().any(|at| at.start < start + size && start < at.end) {
            return Err(EEXIST);
        }
        let bytes = file.then(|| vec![0x55; size as usize]);
        self.0.push(Interval { start, end: start + size, flags, bytes });
        Ok(())
    }

    fn unmap(&mut self, start: u64, size: u64) -> Result<(), i32> {
        let end = start + size;
        let touched = |at: &Interval| at.start < end && start < at.end;
        if size == 0 || self.0.iter().any(|at| touched(at) && (at.start < start || at.end > end)) {
            return Err(EINVAL);
        }
        let before = self.0.len();
        self.0.retain(|at| !touched(at));
        if self.0.len() == before { Err(ENOENT) } else { Ok(()) }
    }

    /// Byte by byte; also what was done before the error.
    fn access(
        &mut self,
        iova: u64,
        len: usize,
        flag: u32,
        mut each: impl FnMut(usize, &mut u8),
    ) -> Result<(), DmaError> {
        for nth in 0..len {
            let address = iova + nth as u64;
            let at = self.0.iter_mut().find(|at| at.start <= address && address < at.end);
            let at = at.ok_or(DmaError::NotMapped)?;
            if at.flags & flag == 0 {
                return Err(DmaError::Denied);
            }
            let bytes = at.bytes.as_mut().ok_or(DmaError::NoMemory)?;
            each(nth, &mut bytes[(address - at.start) as usize]);
        }
        Ok(())
    }
}

fn run(steps: Vec<Step>) {
    let (world, mut token) = (World::new(), ThreadToken::at_thread_entry());
    let _attached = world.attach(&mut token);
    let mut model = Model::default();
    for step in steps {
        match step.clone() {
            Step::Map { page, pages, flags, file } => {
                let size = pages * PAGE;
                let fd = file.then(|| filled(size, 0x55));
                let got =
                    world.map_at(&mut token, flags, 0, page * PAGE, size, fd).map_err(|e| e.errno.raw());
                assert_eq!(got, model.map(page * PAGE, size, flags, file), "{step:?}");
            }
            Step::Unmap { page, pages } => {
                let got = world.assignment.dma_unmap(&mut token, page * PAGE, pages * PAGE);
                assert_eq!(
                    got.map_err(|e| e.errno.raw()),
                    model.unmap(page * PAGE, pages * PAGE),
                    "{step:?}"
                );
            }
            Step::UnmapAll => {
                world.assignment.dma_unmap_all(&mut token).unwrap();
                model.0.clear();
            }
            Step::Read { iova, len } => {
                let mut expected = vec![0xee; len];
                let result = model.access(iova, len, READ, |nth, byte| expected[nth] = *byte);
                let got = world.read_guest(&token, iova, len);
                assert_eq!(got, result.map(|()| expected), "{step:?}");
            }
            Step::Write { iova, len, value } => {
                let expected = model.access(iova, len, WRITE, |_, byte| *byte = value);
                let got = world.port.dma().write(&world.pass(&token), iova, &vec![value; len]);
                assert_eq!(got, expected, "{step:?}");
            }
        }
        let bytes = model.0.iter().map(|at| at.bytes.as_ref().map_or(0, |b| b.len() as u64)).sum();
        assert_eq!(world.port.dma().usage(&mut token), (model.0.len(), bytes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    #[test]
    fn the_map_behaves_like_a_list_of_intervals(steps in prop::collection::vec(step(), 1..40)) {
        run(steps);
    }
}
