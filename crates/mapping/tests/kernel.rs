//! The real kernel: real faults, real limits, a fork, a handler that dies.
//!
//! Descriptors, threads and mappings are counted for the whole process, so these tests take turns.
#![allow(unsafe_code, reason = "a fork, limits of the process and raw pointers of mappings")]
#![allow(clippy::disallowed_types, reason = "what a test protects with a lock is its own")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use gate::{Deadline, Gate, Reason, ThreadToken};
use mapping::{MapError, MapRequest, Mapping, MappingError, MappingLimits, Mappings, Memory};
use mapping::{OnDisabled, Reach, Trap};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use std::{fs, io, ptr, thread};

const PAGE: u64 = 4096;
const MIB: u64 = 1 << 20;
const REGION: u32 = 2;
const LONG: Duration = Duration::from_secs(20);

static TURN: Mutex<()> = Mutex::new(());

fn turn() -> MutexGuard<'static, ()> {
    // A test that failed must not fail the others.
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Whether the region is enabled; may kill who asks.
#[derive(Default)]
struct Decoding {
    disabled: AtomicBool,
    deadly: AtomicUsize,
}

impl Reach for Decoding {
    fn is_reachable(&self, region: u32) -> bool {
        assert_eq!(region, REGION);
        let dies = self.deadly.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert!(dies.is_err(), "killed by a test");
        !self.disabled.load(Ordering::SeqCst)
    }
}

/// Answers every access with 0x5a.
struct Calls;

impl Trap for Calls {
    fn read(
        &self,
        _: &mut ThreadToken,
        _: u32,
        _: u64,
        data: &mut [u8],
        _: Deadline,
    ) -> Result<(), MappingError> {
        data.fill(0x5a);
        Ok(())
    }

    fn write(&self, _: &mut ThreadToken, _: u32, _: u64, _: &[u8], _: Deadline) -> Result<(), MappingError> {
        Ok(())
    }
}

/// A function with one region.
struct Function {
    gate: Gate,
    decoding: Arc<Decoding>,
    memory: Arc<Memory>,
    mappings: Mappings,
}

impl Function {
    fn new(size: u64) -> Function {
        let gate = Gate::new("function");
        let decoding = Arc::new(Decoding::default());
        let mappings = Mappings::new(&gate, Arc::<Decoding>::clone(&decoding), MappingLimits::default());
        Function { gate, decoding, memory: Memory::new("bar", size), mappings }
    }

    fn try_map(&self, on_disabled: OnDisabled) -> Result<Mapping, MapError> {
        self.mappings.map(MapRequest {
            owner: String::from("test"),
            region: REGION,
            memory: Arc::clone(&self.memory),
            offset: 0,
            size: self.memory.size(),
            on_disabled,
            trap: Arc::new(Calls),
        })
    }

    fn map(&self) -> Mapping {
        self.try_map(OnDisabled::Fail).unwrap()
    }

    fn zap(&self, token: &mut ThreadToken) {
        let held = self.gate.close_short(token, Reason::Remap, Deadline::after(LONG)).unwrap();
        self.mappings.zap(&held);
    }

    /// Faults that were answered with memory.
    fn faults(&self) -> u64 {
        self.mappings.report().iter().map(|mapping| mapping.faults).sum()
    }

    /// Bytes that the memory takes.
    fn allocated(&self) -> u64 {
        let file = self.memory.file(0).unwrap();
        u64::try_from(rustix::fs::fstat(&file).unwrap().st_blocks).unwrap() * 512
    }
}

/// Reads through the raw pointer, as a driver in this process does.
fn peek(mapping: &Mapping, offset: u64) -> u8 {
    // SAFETY: the mapping lives, the offset is inside, the thread holds nothing, and the access is volatile.
    unsafe {
        mapping.as_ptr().unwrap().as_ptr().wrapping_add(usize::try_from(offset).unwrap()).read_volatile()
    }
}

fn token() -> ThreadToken {
    ThreadToken::at_thread_entry()
}

fn until(condition: impl Fn() -> bool) {
    let end = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < end, "it never happens");
        thread::yield_now();
    }
}

/// Waits until the process has no pool of handlers, and no thread of it. Its last descriptor comes first: threads get their
/// names some time after their start.
fn until_no_pool() {
    let targets = || fs::read_dir("/proc/self/fd").unwrap().flatten().map(|fd| fs::read_link(fd.path()));
    until(|| !targets().flatten().any(|target| target.to_string_lossy().contains("[userfaultfd]")));
    until(|| possessions().handlers == 0);
}

/// Waits until the process has what it had.
fn until_left_with(before: &Possessions) {
    let end = Instant::now() + LONG;
    // Handlers end by themselves.
    while possessions() != *before && Instant::now() < end {
        thread::yield_now();
    }
    assert_eq!(possessions(), *before);
}

/// What a pool of handlers consists of.
#[derive(Debug, PartialEq, Eq)]
struct Possessions {
    descriptors: usize,
    handlers: usize,
    windows: usize,
}

fn possessions() -> Possessions {
    let lines = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.map(|task| lines(&format!("{}/comm", task.path().display())));
    // The device's own view stays as long as the memory, and is counted too.
    let is_ours = |line: &&str| line.contains("memfd:") || line.contains("anon_inode:");
    Possessions {
        descriptors: fs::read_dir("/proc/self/fd").unwrap().count(),
        handlers: names.filter(|name| name.trim() == "fault").count(),
        windows: lines("/proc/self/maps").lines().filter(is_ours).count(),
    }
}

/// Runs the test of this name in a process of its own.
fn in_a_child(name: &str) -> ExitStatus {
    let test = std::env::current_exe().unwrap();
    Command::new(test).args([name, "--exact", "--nocapture"]).env("KERNEL_TEST_CHILD", "1").status().unwrap()
}

fn is_child() -> bool {
    std::env::var_os("KERNEL_TEST_CHILD").is_some()
}

#[test]
fn threads_that_fault_on_one_page_at_once_all_get_it() {
    // MM-I1
    const THREADS: usize = 8;
    let _turn = turn();
    let function = Function::new(MIB);
    let mapping = function.map();
    function.memory.write(5 * PAGE, &[7]);
    let barrier = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let mut token = token();
                for _ in 0..100 {
                    barrier.wait();
                    assert_eq!(mapping.read::<u8>(&mut token, 5 * PAGE), Ok(7));
                    if barrier.wait().is_leader() {
                        function.zap(&mut token);
                    }
                }
            });
        }
    });
    assert_eq!(function.mappings.report()[0].zaps, 100);
}

#[test]
fn one_fault_makes_a_whole_bar_ready() {
    let _turn = turn();
    let function = Function::new(16 * MIB);
    let mapping = function.map();
    (0..16 * MIB).step_by(4096).for_each(|offset| function.memory.write(offset, &[7]));
    // From the middle: what lies before comes with it.
    assert_eq!(peek(&mapping, 9 * MIB), 7);
    until(|| function.faults() == 1);
    assert!((0..16 * MIB).step_by(4096).all(|offset| peek(&mapping, offset) == 7));
    assert_eq!(function.faults(), 1);
}

#[test]
fn a_bar_with_holes_gets_memory_for_all_of_it() {
    let _turn = turn();
    let function = Function::new(16 * MIB);
    let mapping = function.map();
    for offset in [0, 5 * MIB, 5 * MIB + 3 * PAGE, 16 * MIB - PAGE] {
        function.memory.write(offset, &[7]);
    }
    assert_eq!(function.allocated(), 4 * PAGE);
    assert_eq!(peek(&mapping, MIB), 0);
    until(|| function.allocated() == 16 * MIB);
    assert_eq!(peek(&mapping, 5 * MIB + 3 * PAGE), 7);
    assert_eq!(peek(&mapping, 16 * MIB - PAGE), 7);
}

#[test]
fn a_bar_of_several_gib_takes_memory_for_what_is_touched() {
    let _turn = turn();
    let function = Function::new(4 << 30);
    let mapping = function.map();
    function.memory.write(3 << 30, &[7]);
    for (offset, value) in [(0, 0), (1 << 30, 0), (3 << 30, 7), ((4 << 30) - 1, 0)] {
        assert_eq!(peek(&mapping, offset), value);
    }
    until(|| function.faults() == 4);
    assert_eq!(function.allocated(), 4 * PAGE);
    // Also while it is hidden, and it comes back.
    assert!(function.gate.freeze());
    assert_eq!([0, 1 << 30, (4 << 30) - 1].map(|offset| peek(&mapping, offset)), [0xff; 3]);
    assert!(function.gate.thaw());
    assert_eq!(peek(&mapping, 3 << 30), 7);
    assert_eq!(function.allocated(), 4 * PAGE);
}

#[test]
fn a_disabled_region_fails_the_access_and_raises_sigbus_for_a_raw_pointer() {
    // MM-I5, VF-20
    let _turn = turn();
    let function = Function::new(MIB);
    let mapping = function.map();
    function.decoding.disabled.store(true, Ordering::SeqCst);
    if is_child() {
        peek(&mapping, 0);
        return;
    }
    let mut token = token();
    assert_eq!(mapping.read::<u32>(&mut token, 0), Err(MappingError::Disabled));
    function.decoding.disabled.store(false, Ordering::SeqCst);
    function.zap(&mut token);
    assert_eq!(mapping.read::<u32>(&mut token, 0), Ok(0));
    let status = in_a_child("a_disabled_region_fails_the_access_and_raises_sigbus_for_a_raw_pointer");
    assert_eq!(status.signal(), Some(libc::SIGBUS));
}

#[test]
fn a_frozen_function_shows_ones_and_its_memory_again_when_it_is_thawed() {
    let _turn = turn();
    let function = Function::new(5 * MIB);
    let mapping = function.map();
    function.memory.write(0, &[7]);
    for _ in 0..3 {
        assert_eq!(peek(&mapping, 0), 7);
        assert!(function.gate.freeze());
        assert!((0..5 * MIB).step_by(4096).all(|offset| peek(&mapping, offset) == 0xff));
        assert!(function.gate.thaw());
    }
    let _ = function.gate.retire(&mut token(), Deadline::after(LONG));
    assert!((0..5 * MIB).step_by(4096).all(|offset| peek(&mapping, offset) == 0xff));
}

#[test]
fn a_region_that_is_disabled_when_its_function_thaws_shows_nothing_of_its_memory() {
    let _turn = turn();
    let function = Function::new(MIB);
    let mapping = function.map();
    let mut token = token();
    function.memory.write(0, &[7]);
    function.decoding.disabled.store(true, Ordering::SeqCst);
    function.zap(&mut token);
    for _ in 0..100 {
        // Readers that are there when the range is replaced.
        thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut token = ThreadToken::at_thread_entry();
                let read = |_| mapping.read::<u8>(&mut token, 0);
                assert!((0..50).map(read).all(|read| read.is_err()));
            });
            assert!(function.gate.freeze() && function.gate.thaw());
            reader.join().unwrap();
        });
        assert_eq!(peek(&mapping, 0), 0xff);
        assert_eq!(mapping.read::<u8>(&mut token, 0), Err(MappingError::Disabled));
    }
    function.decoding.disabled.store(false, Ordering::SeqCst);
    function.zap(&mut token);
    assert_eq!(mapping.read::<u8>(&mut token, 0), Ok(7));
}

#[test]
fn a_child_process_has_no_mapping_and_its_parent_goes_on() {
    let _turn = turn();
    let function = Function::new(5 * MIB);
    let mapping = function.map();
    function.memory.write(0, &[7]);
    let child_dies_of = |offset| {
        // SAFETY: the child touches one address and ends; it allocates nothing and takes no lock.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: the default action ends the child at its fault; `_exit` does not return.
            unsafe {
                libc::signal(libc::SIGSEGV, libc::SIG_DFL);
                peek(&mapping, offset);
                libc::_exit(0);
            }
        }
        let mut status = 0;
        // SAFETY: it is our child, and `status` outlives the call.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        ExitStatus::from_raw(status).signal()
    };
    assert_eq!(child_dies_of(0), Some(libc::SIGSEGV), "nothing is present");
    assert_eq!(peek(&mapping, 0), 7);
    assert_eq!(child_dies_of(0), Some(libc::SIGSEGV), "the page is present here");
    assert!(function.gate.freeze());
    assert_eq!(child_dies_of(4 * MIB), Some(libc::SIGSEGV), "covered");
    assert!(function.gate.thaw());
    assert_eq!(child_dies_of(0), Some(libc::SIGSEGV), "uncovered");
    assert_eq!(peek(&mapping, 0), 7);
}

#[test]
fn a_handler_that_panics_goes_on_and_nobody_notices() {
    let _turn = turn();
    let function = Function::new(MIB);
    let mapping = function.map();
    let other = Function::new(MIB);
    let others = other.map();
    // One for each processor, at most four, and one to interrupt them; threads name themselves a little later.
    let handlers = thread::available_parallelism().unwrap().get().min(4) + 1;
    until(|| possessions().handlers == handlers);
    for _ in 0..2 {
        function.decoding.deadly.store(1, Ordering::SeqCst);
        assert_eq!(mapping.read::<u8>(&mut token(), 0), Ok(0));
        assert_eq!(function.decoding.deadly.load(Ordering::SeqCst), 0);
        function.zap(&mut token());
        assert_eq!(others.read::<u8>(&mut token(), 0), Ok(0));
        other.zap(&mut token());
    }
    until(|| possessions().handlers == handlers);
}

#[test]
fn a_function_that_kills_every_handler_is_given_up_and_no_other() {
    let _turn = turn();
    let function = Function::new(MIB);
    let mapping = function.map();
    let other = Function::new(MIB);
    let others = other.map();
    function.decoding.deadly.store(usize::MAX, Ordering::SeqCst);
    assert_eq!(mapping.read::<u8>(&mut token(), 0), Err(MappingError::Gone));
    assert_eq!(peek(&mapping, PAGE), 0xff);
    assert_eq!(others.read::<u8>(&mut token(), 0), Ok(0));
}

#[test]
fn the_last_mapping_leaves_no_thread_no_descriptor_and_no_range() {
    let _turn = turn();
    // What the process makes once stays.
    drop(Function::new(MIB).map());
    until_no_pool();
    let before = possessions();
    for round in 0..3 {
        let functions = [1, 5, 40].map(|size| Function::new(size * MIB));
        let mappings = functions.each_ref().map(Function::map);
        for (function, mapping) in functions.iter().zip(&mappings) {
            assert_eq!(peek(mapping, MIB - 1), 0);
            if round == 1 {
                assert!(function.gate.freeze());
            }
            if round == 2 {
                let _ = function.gate.retire(&mut token(), Deadline::after(LONG));
            }
        }
        until(|| possessions().handlers >= 2);
        drop(mappings);
        drop(functions);
        until_left_with(&before);
    }
}

#[test]
fn a_mapping_without_a_descriptor_left_is_refused_and_leaves_nothing() {
    // MM-I4
    let _turn = turn();
    let function = Function::new(MIB);
    drop(function.map());
    until_no_pool();
    let before = possessions();
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` outlives the calls; the limit is put back below.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    let refused = |left: usize| {
        let lower = libc::rlimit { rlim_cur: limit_that_leaves(left), ..limit };
        // SAFETY: as above.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &lower) };
        let result = function.try_map(OnDisabled::Fail).err();
        // SAFETY: as above.
        unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) };
        result
    };
    // Each of the descriptors that a pool takes.
    let results: Vec<_> = (0..5).map(refused).collect();
    for result in &results {
        let Some(MapError::System(error)) = result else { panic!("{results:?}") };
        assert!(error.to_string().contains("files"), "{error}");
    }
    until_left_with(&before);
    assert_eq!(peek(&function.map(), 0), 0);
}

/// The limit under which so many more descriptors can be opened.
fn limit_that_leaves(left: usize) -> u64 {
    // SAFETY: only asks whether the descriptor is open.
    let is_free = |fd: &libc::c_int| unsafe { libc::fcntl(*fd, libc::F_GETFD) } < 0;
    (0..).filter(is_free).nth(left).unwrap().try_into().unwrap()
}

/// A page that takes one of the mappings that the process may have.
struct Taken(*mut libc::c_void);

impl Taken {
    fn all() -> Vec<Taken> {
        // Shared ones are never merged.
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let take = || {
            // SAFETY: new addresses.
            let at = unsafe { libc::mmap(ptr::null_mut(), 4096, libc::PROT_NONE, flags, -1, 0) };
            (at != libc::MAP_FAILED).then_some(Taken(at))
        };
        // What is needed for the list is there before the last is taken.
        let mut taken = Vec::with_capacity(1 << 20);
        taken.extend(std::iter::from_fn(take).take(1 << 20));
        taken
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // SAFETY: it is ours, and never accessed.
        unsafe { libc::munmap(self.0, 4096) };
    }
}

/// What the kernel reads there; `None` if it cannot.
fn ask_kernel(mapping: &Mapping, offset: u64) -> Option<u8> {
    let mut value = 0_u8;
    // SAFETY: the offset is inside the mapping, which lives; it is not accessed but by the kernel, which may fail.
    let done = unsafe {
        let at = mapping.as_ptr().unwrap().as_ptr().wrapping_add(usize::try_from(offset).unwrap());
        let there = libc::iovec { iov_base: at.cast(), iov_len: 1 };
        let here = libc::iovec { iov_base: (&raw mut value).cast(), iov_len: 1 };
        libc::process_vm_readv(libc::getpid(), &here, 1, &there, 1, 0)
    };
    (done == 1).then_some(value)
}

#[test]
fn a_process_with_no_mappings_left_is_refused_and_a_freeze_hides_what_is_mapped_all_the_same() {
    const NAME: &str =
        "a_process_with_no_mappings_left_is_refused_and_a_freeze_hides_what_is_mapped_all_the_same";
    const PROBES: [u64; 5] = [0, 3 * MIB, 9 * MIB, 40 * MIB, 64 * MIB - 1];
    let _turn = turn();
    if !is_child() {
        assert!(in_a_child(NAME).success());
        return;
    }
    let (function, late) = (Function::new(64 * MIB), Function::new(MIB));
    late.memory.set_up().unwrap();
    let mapping = function.map();
    PROBES.iter().for_each(|offset| function.memory.write(*offset, &[7]));
    let mut token = token();
    let mut taken = Taken::all();
    let refused = late.try_map(OnDisabled::Fail).err();
    assert!(matches!(&refused, Some(MapError::System(_))), "{refused:?}");
    let mut shown = Vec::new();
    // The cover takes 32 mappings. None, one, a few of them can be had.
    for left in [0, 1, 2, 6, 100] {
        taken.truncate(taken.len().saturating_sub(left));
        PROBES.iter().for_each(|offset| assert_eq!(mapping.read::<u8>(&mut token, *offset), Ok(7)));
        PROBES.iter().for_each(|offset| assert_eq!(ask_kernel(&mapping, *offset), Some(7)));
        assert!(function.gate.freeze());
        shown.push(PROBES.map(|offset| ask_kernel(&mapping, offset)));
        taken.truncate(taken.len() - 50);
        assert!(function.gate.thaw());
        taken.append(&mut Taken::all());
    }
    assert!(shown.as_flattened().iter().all(|shown| matches!(shown, None | Some(0xff))), "{shown:?}");
    assert_eq!(shown[0], [None; 5], "this was to be without any mapping left");
    assert_eq!(shown[4], [Some(0xff); 5], "this was to be with enough of them");
}

/// Counts warnings.
struct Warnings(Arc<AtomicUsize>);

impl tracing::Subscriber for Warnings {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= tracing::Level::WARN
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, _: &tracing::Event<'_>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

/// Has userfaultfd(2) fail with EPERM for this thread, and `/dev/userfaultfd` be for others.
fn forbid_userfaultfd() -> io::Result<()> {
    let load = |offset| libc::sock_filter { code: 0x20, jt: 0, jf: 0, k: offset };
    let answer = |k| libc::sock_filter { code: 0x06, jt: 0, jf: 0, k };
    let number = u32::try_from(libc::SYS_userfaultfd).unwrap();
    let is_userfaultfd = libc::sock_filter { code: 0x15, jt: 0, jf: 1, k: number };
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
    let mut filter = [load(0), is_userfaultfd, answer(refuse), answer(libc::SECCOMP_RET_ALLOW)];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    // SAFETY: the filter outlives the calls, which change this process only; it is a test's own.
    let done = unsafe {
        libc::setresuid(65534, 65534, 65534) == 0
            && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) == 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[test]
fn where_userfaultfd_is_not_permitted_accesses_are_trapped_and_one_warning_says_so() {
    const NAME: &str = "where_userfaultfd_is_not_permitted_accesses_are_trapped_and_one_warning_says_so";
    let _turn = turn();
    if !is_child() {
        assert!(in_a_child(NAME).success());
        return;
    }
    forbid_userfaultfd().unwrap();
    let warnings = Arc::new(AtomicUsize::new(0));
    let _guard = tracing::subscriber::set_default(Warnings(Arc::clone(&warnings)));
    let mut token = token();
    for _ in 0..3 {
        let function = Function::new(MIB);
        let mapping = function.map();
        assert!(mapping.is_trapped());
        assert_eq!(mapping.read::<u16>(&mut token, 8), Ok(0x5a5a));
    }
    assert_eq!(warnings.load(Ordering::SeqCst), 1);
    assert_eq!(possessions().handlers, 0);
}
