//! What one command costs in the proxy and in the back end: system calls, messages and CPU time.
//!
//! System calls are counted by the kernel, by a tracepoint on each thread; that needs the right to (root, or
//! `perf_event_paranoid` of 1 and tracefs to read). Where it is missing they are left out.

use std::error::Error;
use std::fs;
use std::io::Read;
use std::os::fd::{FromRawFd, OwnedFd};

/// Of one command.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Profile {
    /// System calls of proxy and back end.
    pub(super) calls: Option<f64>,
    /// Those of them that send a message.
    pub(super) messages: Option<f64>,
    /// CPU time of the proxy's threads.
    pub(super) front_cpu_us: f64,
    /// CPU time of the back end.
    pub(super) back_end_cpu_us: f64,
}

/// Threads of which costs are counted.
pub(super) struct Tasks {
    front: Vec<u32>,
    back_end: Vec<u32>,
}

impl Tasks {
    /// All of this process but the caller, and all of the back end.
    ///
    /// # Errors
    /// The back end is no more.
    pub(super) fn of(back_end: u32) -> Result<Tasks, Box<dyn Error>> {
        let caller = rustix::thread::gettid().as_raw_nonzero().get().cast_unsigned();
        let mut front = threads(std::process::id())?;
        front.retain(|thread| *thread != caller);
        Ok(Tasks { front, back_end: threads(back_end)? })
    }

    /// Begins to count.
    pub(super) fn count(self) -> Counting {
        let all: Vec<u32> = self.front.iter().chain(&self.back_end).copied().collect();
        let sending = format!("id == {} || id == {}", libc::SYS_sendmsg, libc::SYS_sendto);
        let counters = |filter| all.iter().map(|thread| counter(*thread, filter)).collect();
        let (calls, messages) = (counters(None), counters(Some(sending.as_str())));
        let (front_ns, back_end_ns) = (cpu_ns(&self.front), cpu_ns(&self.back_end));
        Counting { tasks: self, calls, messages, front_ns, back_end_ns }
    }
}

/// Costs since a moment.
pub(super) struct Counting {
    tasks: Tasks,
    calls: Option<Vec<fs::File>>,
    messages: Option<Vec<fs::File>>,
    front_ns: f64,
    back_end_ns: f64,
}

impl Counting {
    /// What each of `operations` has cost since then. An error if there were none.
    pub(super) fn since(self, operations: f64) -> Result<Profile, Box<dyn Error>> {
        if operations < 1.0 {
            return Err("no operation was counted".into());
        }
        let of_each = |counters: Option<Vec<fs::File>>| Some(sum(counters?)? / operations);
        Ok(Profile {
            front_cpu_us: (cpu_ns(&self.tasks.front) - self.front_ns) / 1e3 / operations,
            back_end_cpu_us: (cpu_ns(&self.tasks.back_end) - self.back_end_ns) / 1e3 / operations,
            calls: of_each(self.calls),
            messages: of_each(self.messages),
        })
    }
}

fn threads(process: u32) -> std::io::Result<Vec<u32>> {
    let entries = fs::read_dir(format!("/proc/{process}/task"))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect())
}

/// Nanoseconds on a CPU, of all that still live.
fn cpu_ns(threads: &[u32]) -> f64 {
    let of_one = |thread: &u32| -> Option<f64> {
        let times = fs::read_to_string(format!("/proc/{thread}/schedstat")).ok()?;
        times.split_whitespace().next()?.parse().ok()
    };
    threads.iter().filter_map(of_one).sum()
}

fn sum(counters: Vec<fs::File>) -> Option<f64> {
    let mut all = 0.0;
    for mut counter in counters {
        let mut count = [0; 8];
        counter.read_exact(&mut count).ok()?;
        all += u64::from_ne_bytes(count) as f64;
    }
    Some(all)
}

/// The part of the kernel's `perf_event_attr` that is used (its first published size), all else zero.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup: u32,
    breakpoint_type: u32,
    config1: u64,
}

const TRACEPOINT: u32 = 2;
/// `PERF_FLAG_FD_CLOEXEC`.
const CLOEXEC: libc::c_ulong = 8;
/// `PERF_EVENT_IOC_SET_FILTER`.
const SET_FILTER: libc::c_ulong = 0x4008_2406;

/// Counts the system calls of one thread, all or those that pass a filter; `None` without the right to.
fn counter(thread: u32, filter: Option<&str>) -> Option<fs::File> {
    let id = fs::read_to_string("/sys/kernel/tracing/events/raw_syscalls/sys_enter/id").ok()?;
    let attributes = Attributes {
        kind: TRACEPOINT,
        size: u32::try_from(size_of::<Attributes>()).ok()?,
        config: id.trim().parse().ok()?,
        ..Attributes::default()
    };
    let thread = libc::pid_t::try_from(thread).ok()?;
    // SAFETY: `attributes` is a `perf_event_attr` of the size that it names and outlives the call, which writes nothing.
    let fd =
        unsafe { libc::syscall(libc::SYS_perf_event_open, &raw const attributes, thread, -1, -1, CLOEXEC) };
    let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
    // SAFETY: the call has just made it, and nobody else knows it.
    let counter = unsafe { OwnedFd::from_raw_fd(fd) };
    if let Some(filter) = filter {
        let filter = std::ffi::CString::new(filter).ok()?;
        // SAFETY: the request reads a string that ends with NUL and outlives the call.
        let set = unsafe { libc::ioctl(fd, SET_FILTER, filter.as_ptr()) };
        if set != 0 {
            return None;
        }
    }
    Some(fs::File::from(counter))
}
