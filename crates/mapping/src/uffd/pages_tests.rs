use super::*;
use crate::fault::fake::{Fake, FakeFile, LONG, PAGE, Plan, until};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

fn pool() -> Arc<Pool> {
    Pool::get().unwrap()
}

#[test]
fn a_small_range_is_made_present_as_a_whole_and_gets_memory_for_all_of_it() {
    let file = FakeFile::new(8 << 20);
    let window = Fake::new(&pool(), &file, 1 << 20, 4 << 20);
    assert_eq!(file.allocated(), 0);
    // In the middle: what lies before is made present too.
    assert_eq!(window.read(3 << 20), Some(0));
    until(|| file.allocated() == 4 << 20);
    for at in (0..4 << 20).step_by(PAGE) {
        assert_eq!(window.read(at), Some(0));
    }
    // The reader may have gone on to the pages before its own while those were still being made present.
    assert!(window.faults() <= 2, "{}", window.faults());
}

#[test]
fn a_range_with_holes_shows_what_its_file_has_and_zeroes() {
    let file = FakeFile::new(1 << 20);
    for page in (0..256).step_by(3) {
        file.write(page * PAGE, &[7]);
    }
    let window = Fake::new(&pool(), &file, 0, 1 << 20);
    for page in 0..256 {
        assert_eq!(window.read(page * PAGE), Some(if page % 3 == 0 { 7 } else { 0 }), "{page}");
    }
    window.write(5, 9);
    assert_eq!(file.read(5), 9);
}

#[test]
fn a_large_range_takes_memory_for_what_is_touched_and_is_made_present_by_pieces() {
    let size = 3 << 30;
    let file = FakeFile::new(size as u64);
    let window = Fake::new(&pool(), &file, 0, size);
    for at in [0, PIECE + 5 * PAGE, size - 1] {
        assert_eq!(window.read(at), Some(0));
    }
    assert_eq!((window.faults(), file.allocated()), (3, 3 * PAGE));
    // A piece that has memory already needs one fault.
    file.write(8 * PIECE, &vec![3; PIECE + PAGE]);
    let piece: Vec<_> = (0..PIECE).step_by(PAGE).map(|at| window.read(8 * PIECE + at)).collect();
    assert!(piece.iter().all(|byte| *byte == Some(3)));
    assert_eq!(window.faults(), 4);
}

#[test]
fn answers_of_the_same_pages_at_the_same_time_all_succeed() {
    // MM-I1: N threads x M faults on one page are one mapping, and all succeed.
    const THREADS: usize = 8;
    const ROUNDS: usize = 200;
    for size in [1 << 20, 32 << 20] {
        let file = FakeFile::new(size as u64);
        let window = Fake::new(&pool(), &file, 0, size);
        let barrier = Barrier::new(THREADS);
        std::thread::scope(|scope| {
            for thread in 0..THREADS {
                let (barrier, window) = (&barrier, &window);
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        barrier.wait();
                        // Touched and answered, at once, by all.
                        if thread % 2 == 0 {
                            assert_eq!(window.pages.populate(3 * PAGE as u64), Ok(()));
                        }
                        assert_eq!(window.read(3 * PAGE), Some(0), "round {round}");
                        if barrier.wait().is_leader() {
                            window.pages.zap();
                        }
                    }
                });
            }
        });
        assert!(window.faults() > 0);
    }
}

#[test]
fn who_waits_for_a_page_that_is_present_already_is_woken_by_its_answer() {
    let file = FakeFile::new(1 << 20);
    file.write(5 * PAGE, &[7]);
    for answer in [|pages: &KernelPages, offset| assert!(pages.populate(offset).is_ok()), KernelPages::poison]
    {
        let window = Fake::new(&pool(), &file, 0, 1 << 20);
        window.plan(Plan::Park(LONG));
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| window.read(5 * PAGE));
            window.until_parked();
            // What another answer has made present, and not got to waking yet.
            window.pages.pool.uffd().map_present_silently(window.pages.range.start() + 5 * PAGE, PAGE);
            answer(&window.pages, 5 * PAGE as u64);
            assert_eq!(reader.join().unwrap(), Some(7));
        });
    }
}

#[test]
fn a_poisoned_page_fails_until_it_is_zapped() {
    let file = FakeFile::new(1 << 20);
    file.write(2 * PAGE, &[7]);
    let window = Fake::new(&pool(), &file, 0, 1 << 20);
    window.plan(Plan::Poison);
    for _ in 0..3 {
        assert_eq!(window.read(2 * PAGE), None);
    }
    assert_eq!(window.faults(), 1, "poison is no fault");
    window.plan(Plan::Answer);
    window.pages.zap();
    assert_eq!(window.read(2 * PAGE), Some(7));
}

#[test]
fn a_cover_shows_ones_everywhere_and_an_uncover_what_the_file_is_then() {
    let size = (5 << 20) + PAGE;
    let file = FakeFile::new(16 << 20);
    let window = Fake::new(&pool(), &file, PAGE as u64, size);
    file.write(PAGE, &[7]);
    assert_eq!(window.read(0), Some(7));
    window.pages.cover();
    for at in (0..size).step_by(PAGE) {
        assert_eq!(window.read(at), Some(0xff), "{at:#x}");
    }
    window.write(0, 1);
    assert_eq!(file.read(PAGE), 7, "what is written under a cover reaches nothing");
    assert_eq!(window.pages.populate(0), Err(PagesError::Replaced));
    file.exchange(16 << 20);
    file.write(PAGE, &[8]);
    let faults = window.faults();
    assert_eq!(window.pages.uncover(), Ok(()));
    assert_eq!(window.read(0), Some(8));
    assert!(window.faults() > faults, "nothing was present");
    window.pages.cover();
    assert_eq!(window.read(0), Some(0xff), "what was written under the last cover is gone");
}

#[test]
fn what_is_touched_in_the_middle_of_an_uncover_is_not_present_after_it() {
    let window = Fake::new(&pool(), &FakeFile::new(1 << 20), 0, 1 << 20);
    window.plan(Plan::Poison);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                window.read(0);
            }
        });
        let found: Vec<_> = (0..500)
            .map(|_| {
                window.pages.cover();
                window.pages.uncover().unwrap();
                window.read(0)
            })
            .collect();
        done.store(true, Ordering::SeqCst);
        assert!(found.iter().all(Option::is_none));
    });
}

#[test]
fn who_waits_in_a_range_that_is_covered_finds_ones() {
    let file = FakeFile::new(1 << 20);
    let window = Fake::new(&pool(), &file, 0, 1 << 20);
    window.plan(Plan::Park(LONG));
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| window.read(5 * PAGE));
        window.until_parked();
        window.pages.cover();
        assert_eq!(reader.join().unwrap(), Some(0xff));
    });
}

#[test]
fn a_range_that_cannot_be_registered_leaves_nothing() {
    // Faults are reported for files in memory only. This is a file of another kind, unless the build directory is in memory.
    let path = std::env::current_exe().unwrap().with_file_name(format!("no-memory-{}", std::process::id()));
    let file = std::fs::File::options().create_new(true).read(true).write(true).open(&path).unwrap();
    file.set_len(1 << 20).unwrap();
    let maps = || std::fs::read_to_string("/proc/self/maps").unwrap();
    let refused = KernelPages::map(FakeFile::of(file.into()), 0, 1 << 20).err();
    std::fs::remove_file(&path).unwrap();
    assert!(matches!(refused, Some(Unavailable::System(_))), "{refused:?}");
    assert!(!maps().contains("no-memory-"));
}

#[test]
fn a_page_outside_is_nobodys() {
    let file = FakeFile::new(1 << 20);
    let window = Fake::new(&pool(), &file, 0, PAGE);
    for offset in [PAGE as u64, u64::MAX] {
        assert_eq!(window.pages.populate(offset), Ok(()));
        window.pages.poison(offset);
    }
    assert_eq!(window.read(0), Some(0));
}
