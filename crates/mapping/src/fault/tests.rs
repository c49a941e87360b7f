use super::crew::{Crew, start_thread};
use super::fake::{Fake, FakeFile, LONG, PAGE, Plan, until};
use super::pool::Pool;
use crate::Pages;
use crate::uffd::{Ones, Uffd};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const HANDLERS: usize = 2;

fn pool() -> Arc<Pool> {
    Arc::new(Pool::new(HANDLERS, start_thread).unwrap())
}

/// Its faults take long: who reads them passes the token on.
fn window(pool: &Arc<Pool>) -> Arc<Fake> {
    Fake::new(pool, &FakeFile::new(1 << 20), 0, 1 << 20)
}

/// Its faults are answered by who reads them, with the token.
fn short(pool: &Arc<Pool>) -> Arc<Fake> {
    Fake::new(pool, &FakeFile::new(1 << 20), 0, 4 * PAGE)
}

/// Handlers that there are; they have the crew, and so has the pool.
fn handlers(pool: &Pool) -> usize {
    Arc::strong_count(pool.crew()) - 1
}

#[test]
fn the_last_window_ends_the_pool_whoever_drops_it() {
    let pool = pool();
    let crew = Arc::downgrade(pool.crew());
    let (one, two) = (window(&pool), window(&pool));
    drop(pool);
    assert_eq!(one.read(0), Some(0));
    drop(one);
    assert_eq!(two.read(0), Some(0));
    drop(two);
    // The handlers have ended, and with them the descriptors.
    until(|| crew.upgrade().is_none());
}

#[test]
fn a_pool_ends_whatever_its_handlers_are_at() {
    for round in 0..200 {
        let pool = Arc::new(Pool::new(2 + round % 3, start_thread).unwrap());
        let crew = Arc::downgrade(pool.crew());
        match round % 4 {
            // They are about to start.
            0 => {}
            // All but one are in a read.
            1 => until(|| pool.crew().tokens() > 0 && !pool.crew().is_vacant()),
            // One is about to be in a read again, or passes the token on.
            2 => assert_eq!(short(&pool).read(0), Some(0)),
            _ => assert_eq!(window(&pool).read(0), Some(0)),
        }
        if round % 3 == 0 {
            (0..4).for_each(|_| pool.crew().invite());
        }
        drop(pool);
        until(|| crew.upgrade().is_none());
    }
}

#[test]
fn the_process_has_one_pool_and_a_new_one_after_its_end() {
    let first = Pool::get().unwrap();
    assert!(Arc::ptr_eq(&first, &Pool::get().unwrap()));
    let made: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| Pool::get().unwrap())).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(made.iter().all(|pool| Arc::ptr_eq(pool, &first)));
}

#[test]
fn a_fault_that_is_left_waiting_holds_up_nobody_and_ends_at_its_deadline() {
    let pool = pool();
    let (waits, other) = (window(&pool), window(&pool));
    waits.plan(Plan::Park(Duration::from_millis(200)));
    std::thread::scope(|scope| {
        // More than there are handlers.
        let readers: Vec<_> = (0..6)
            .map(|page| {
                scope.spawn({
                    let waits = &waits;
                    move || waits.read(page * PAGE)
                })
            })
            .collect();
        waits.until_parked();
        for page in 0..100 {
            assert_eq!(other.read(page * PAGE), Some(0));
        }
        for reader in readers {
            assert_eq!(reader.join().unwrap(), Some(0));
        }
    });
}

#[test]
fn the_deadline_of_who_was_left_waiting_by_the_reader_is_kept_while_it_reads() {
    let pool = pool();
    let windows = [(); 3].map(|()| short(&pool));
    let waits = [LONG * 60, Duration::from_millis(50), LONG * 60];
    let start = Instant::now();
    std::thread::scope(|scope| {
        let readers = [0, 1, 2].map(|at| {
            let window = &windows[at];
            window.plan(Plan::Park(waits[at]));
            let reader = scope.spawn(move || window.read(0));
            window.until_parked();
            reader
        });
        // Nothing but its deadline ends the wait of the second. There is no other fault that would have somebody look.
        until(|| readers[1].is_finished());
        assert!(start.elapsed() >= waits[1]);
        assert!(!readers[0].is_finished() && !readers[2].is_finished());
        for window in [&windows[0], &windows[2]] {
            window.plan(Plan::Answer);
            window.wake();
        }
    });
}

#[test]
fn a_deadline_is_kept_when_who_watched_it_begins_to_read() {
    for _ in 0..10 {
        let pool = Arc::new(Pool::new(3, start_thread).unwrap());
        let window = short(&pool);
        window.plan(Plan::Park(Duration::from_millis(30)));
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| window.read(0));
            window.until_parked();
            pool.crew().invite();
            assert_eq!(reader.join().unwrap(), Some(0));
        });
    }
}

#[test]
fn a_fault_that_takes_long_holds_up_no_other() {
    let pool = pool();
    let (long, other, brief) = (window(&pool), window(&pool), short(&pool));
    long.plan(Plan::Hold);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| long.read(0));
        until(|| long.faults() > 0);
        for page in 0..4 {
            assert_eq!(brief.read(page * PAGE), Some(0));
            assert_eq!(other.read(page * PAGE), Some(0));
        }
        assert!(!reader.is_finished());
        long.plan(Plan::Answer);
    });
}

#[test]
fn a_handler_outlives_a_panic_with_its_token_or_without_and_the_fault_is_answered() {
    for make in [short, window] {
        let pool = pool();
        let (deadly, other) = (make(&pool), make(&pool));
        deadly.plan(Plan::Panic);
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| deadly.read(0));
            until(|| deadly.faults() > 0);
            deadly.plan(Plan::Answer);
            let read = reader.join().unwrap();
            // Ones only if it has panicked as often as it may before the plan was changed.
            assert!(read == Some(0) || deadly.is_abandoned() && read == Some(0xff), "{read:?}");
        });
        assert_eq!(other.read(0), Some(0));
        assert!(!pool.crew().is_lost());
        assert_eq!(handlers(&pool), HANDLERS);
    }
}

#[test]
fn a_window_that_goes_on_panicking_is_given_up_and_the_others_are_not() {
    for make in [short, window] {
        let pool = pool();
        let (deadly, other) = (make(&pool), make(&pool));
        deadly.plan(Plan::Panic);
        assert_eq!(deadly.read(0), Some(0xff));
        assert!(deadly.is_abandoned());
        assert_eq!(deadly.faults(), 3);
        assert_eq!(other.read(0), Some(0));
        assert!(!other.is_abandoned());
    }
}

#[test]
fn a_handler_that_has_answered_is_there_for_the_next_fault() {
    let pool = pool();
    let window = short(&pool);
    for round in 1..=100 {
        assert_eq!(window.read(0), Some(0));
        assert_eq!(window.faults(), round);
        window.pages.zap();
    }
}

#[test]
fn faults_that_are_read_together_are_all_answered() {
    let pool = Arc::new(Pool::new(2, start_thread).unwrap());
    let (busy, one, two) = (window(&pool), window(&pool), window(&pool));
    for _ in 0..20 {
        busy.plan(Plan::Hold);
        let faults = busy.faults();
        std::thread::scope(|scope| {
            scope.spawn(|| assert_eq!(busy.read(0), Some(0)));
            until(|| busy.faults() > faults);
            scope.spawn(|| assert_eq!(one.read(0), Some(0)));
            scope.spawn(|| assert_eq!(two.read(0), Some(0)));
            // Time for both to fault; if they do not, this round shows nothing.
            (0..200).for_each(|_| std::thread::yield_now());
            busy.plan(Plan::Answer);
        });
        [&busy, &one, &two].iter().for_each(|window| window.pages.zap());
    }
}

#[test]
fn a_window_whose_deadline_was_put_off_is_served_at_the_later_one() {
    let pool = pool();
    let window = window(&pool);
    std::thread::scope(|scope| {
        let read = |page: usize| {
            let window = &window;
            move || window.read(page * PAGE)
        };
        window.plan(Plan::Park(Duration::from_millis(100)));
        let first = scope.spawn(read(0));
        window.until_parked();
        window.plan(Plan::Park(Duration::from_millis(300)));
        let second = scope.spawn(read(1));
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (Some(0), Some(0)));
    });
}

/// Masks of blocked signals, of the threads of that name.
fn blocked(name: &str) -> Vec<u64> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    // Threads of other tests may end while they are looked at.
    let status = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok());
    let field = |status: &str, key: &str| {
        status.lines().find_map(|line| line.strip_prefix(key).map(|value| value.trim().to_owned()))
    };
    let named = status.filter(|status| field(status, "Name:").as_deref() == Some(name));
    named.map(|status| u64::from_str_radix(&field(&status, "SigBlk:").unwrap(), 16).unwrap()).collect()
}

#[test]
fn signals_of_the_process_come_to_no_handler() {
    let pool = pool();
    assert_eq!(window(&pool).read(0), Some(0));
    let masks = blocked("fault");
    assert!(!masks.is_empty());
    assert!(masks.iter().all(|mask| mask >> (libc::SIGTERM - 1) & 1 == 1), "{masks:x?}");
}

#[test]
fn when_faults_cannot_be_read_every_window_shows_ones_and_nobody_waits_for_ever() {
    let pool = pool();
    let parked = window(&pool);
    parked.plan(Plan::Park(LONG * 60));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| parked.read(0));
        parked.until_parked();
        pool.crew().give_up();
        assert_eq!(waiting.join().unwrap(), Some(0xff));
    });
    assert!(pool.crew().is_lost());
    until(|| handlers(&pool) == 0);
    // Who comes late is told at once.
    let late = window(&pool);
    assert!(late.is_abandoned());
    assert_eq!(late.read(0), Some(0xff));
}

#[test]
fn a_handler_alone_is_not_enough_and_ends() {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    fn start_one(crew: Arc<Crew>) -> io::Result<()> {
        match STARTED.fetch_add(1, Ordering::SeqCst) {
            0 => start_thread(crew),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
    let crew = crew();
    assert_eq!(crew.staff(4, start_one).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    until(|| Arc::strong_count(&crew) == 1);
}

#[test]
fn fewer_handlers_than_wanted_are_good_enough() {
    static STARTED: AtomicUsize = AtomicUsize::new(0);
    fn start_two(crew: Arc<Crew>) -> io::Result<()> {
        match STARTED.fetch_add(1, Ordering::SeqCst) {
            0 | 1 => start_thread(crew),
            _ => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
    let pool = Arc::new(Pool::new(4, start_two).unwrap());
    assert_eq!(short(&pool).read(0), Some(0));
    assert_eq!(handlers(&pool), 2);
}

/// Nobody works in it.
fn crew() -> Arc<Crew> {
    Arc::new(Crew::new(Uffd::open().unwrap(), Ones::new().unwrap()).unwrap())
}

#[test]
fn news_ends_one_wait_and_the_end_ends_all() {
    let crew = crew();
    crew.tell();
    crew.tell();
    assert!(!crew.wait(None).unwrap());
    let moment = Duration::from_millis(5);
    let start = Instant::now();
    assert!(!crew.wait(Some(moment)).unwrap());
    assert!(start.elapsed() >= moment, "the news had been heard");
    crew.stop();
    for _ in 0..3 {
        assert!(!crew.wait(None).unwrap());
    }
}

#[test]
fn there_is_always_one_who_does_not_read_and_one_who_does() {
    let crew = crew();
    crew.staff(4, |_| Ok(())).unwrap();
    assert_eq!(crew.tokens(), 1);
    (0..9).for_each(|_| crew.invite());
    assert_eq!(crew.tokens(), 3);
    for _ in 0..3 {
        assert!(crew.wait(None).unwrap());
        assert!(crew.take_over());
    }
    assert!(!crew.take_over());
    assert!(!crew.wait(Some(Duration::ZERO)).unwrap());
    assert_eq!((0..9).filter(|_| crew.leave()).count(), 2);
}

#[test]
fn when_faults_come_faster_than_one_reads_another_one_reads_too() {
    let pool = Arc::new(Pool::new(3, start_thread).unwrap());
    let windows = [(); 4].map(|()| short(&pool));
    std::thread::scope(|scope| {
        for window in &windows {
            scope.spawn(|| {
                let end = Instant::now() + LONG;
                while pool.crew().tokens() < 2 {
                    assert!(Instant::now() < end, "nobody is invited");
                    assert_eq!(window.read(0), Some(0));
                    window.pages.zap();
                }
            });
        }
    });
}

#[test]
fn who_has_come_to_help_leaves_when_there_is_work_for_one() {
    let pool = Arc::new(Pool::new(4, start_thread).unwrap());
    let (window, crew) = (short(&pool), pool.crew());
    (0..2).for_each(|_| crew.invite());
    assert_eq!(crew.tokens(), 3);
    for _ in 0..10_000 {
        assert_eq!(window.read(0), Some(0));
        window.pages.zap();
    }
    assert_eq!(crew.tokens(), 1);
}

#[test]
fn a_window_may_end_while_its_fault_is_being_answered() {
    let pool = pool();
    let crew = Arc::downgrade(pool.crew());
    for _ in 0..200 {
        let window = window(&pool);
        assert_eq!(window.read(0), Some(0));
        // The handler may still be at it: then it is who unmaps the range.
        drop(window);
    }
    drop(pool);
    until(|| crew.upgrade().is_none());
}
