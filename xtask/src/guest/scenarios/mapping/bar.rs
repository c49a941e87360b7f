//! The BAR as a program in the guest sees it that has mapped it.
//!
//! Two programs map it. `fio` maps `resource2` of the function's sysfs directory and fills or checks all of it through
//! one mapping; busybox's `devmem` maps the page of one word through `/dev/mem`, which the kernel permits for a BAR that
//! no driver has claimed.

use crate::guest::GuestError;
use crate::guest::address::FUNCTION;
use crate::guest::subject::MEMORY_BYTES;
use crate::guest::vm::Vm;

/// The function's BAR with memory.
const INDEX: usize = 2;

/// A name without the colons that separate files for fio.
const LINK: &str = "/tmp/bar";

/// What one of fio's blocks covers; its pattern begins anew in each.
pub(super) const BLOCK: u64 = 4096;

/// What keeps fio from what a file in sysfs does not do.
const COMMON: &str = "--filename=/tmp/bar --ioengine=mmap --fadvise_hint=0 --invalidate=0 --fallocate=none";

/// The bytes that [`Bar::start_storing`] stores to, from the BAR's start; the rest is left alone.
pub(super) const STORED_TO: u64 = 64 << 10;

/// What all of the BAR holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contents {
    /// In each block the same tag, and the block's offset.
    Pattern(u32),
    /// Nothing but zeroes.
    Zeroes,
    /// All-ones.
    Ones,
}

impl Contents {
    /// fio's word for it.
    fn for_fio(self) -> String {
        match self {
            Self::Pattern(tag) => format!("{tag:#010x}%o"),
            Self::Zeroes => "0x00".to_owned(),
            Self::Ones => "0xff".to_owned(),
        }
    }

    /// The first eight bytes of the block at `offset`. fio writes a tag as it is spelt and an offset in little endian.
    pub(super) fn word(self, offset: u64) -> u64 {
        match self {
            Self::Pattern(tag) => u64::from(tag.swap_bytes()) | offset << 32,
            Self::Zeroes => 0,
            Self::Ones => u64::MAX,
        }
    }
}

/// The BAR in the guest's address space.
pub(super) struct Bar {
    address: u64,
}

impl Bar {
    /// Enables the function's memory and finds the BAR.
    ///
    /// # Errors
    /// [`GuestError::Check`] when it has another size, or what running commands in the guest can give.
    pub(super) fn find(vm: &mut Vm) -> Result<Self, GuestError> {
        let directory = format!("/sys/bus/pci/devices/{FUNCTION}");
        vm.run(&format!("echo 1 >{directory}/enable && ln -s {directory}/resource{INDEX} {LINK}"))?;
        let table = vm.run(&format!("cat {directory}/resource"))?;
        match range(&table, INDEX) {
            Some((address, MEMORY_BYTES)) => Ok(Self { address }),
            other => Err(GuestError::Check(format!("BAR {INDEX} is {other:x?} in\n{table}"))),
        }
    }

    /// Fills all of it, and reads it back.
    ///
    /// # Errors
    /// As [`Bar::expect`].
    pub(super) fn fill(&self, vm: &mut Vm, contents: Contents) -> Result<(), GuestError> {
        check_all(vm, "write", contents)
    }

    /// Fails unless all of it holds `contents`.
    ///
    /// # Errors
    /// [`GuestError::Check`] with what is wrong where, or what running commands in the guest can give.
    pub(super) fn expect(&self, vm: &mut Vm, contents: Contents) -> Result<(), GuestError> {
        check_all(vm, "read", contents)
    }

    /// Reads eight bytes.
    ///
    /// # Errors
    /// What running commands in the guest can give.
    pub(super) fn read(&self, vm: &mut Vm, offset: u64) -> Result<u64, GuestError> {
        let text = vm.run(&format!("devmem {:#x} 64", self.address + offset))?;
        let digits = text.trim().trim_start_matches("0x");
        u64::from_str_radix(digits, 16).map_err(|_| GuestError::Check(format!("devmem says {text}")))
    }

    /// Writes eight bytes.
    ///
    /// # Errors
    /// What running commands in the guest can give.
    pub(super) fn write(&self, vm: &mut Vm, offset: u64, value: u64) -> Result<(), GuestError> {
        vm.run(&format!("devmem {:#x} 64 {value:#x}", self.address + offset)).map(drop)
    }

    /// Fails unless the words at the start of a few blocks beyond [`STORED_TO`] are those of `contents`.
    ///
    /// # Errors
    /// [`GuestError::Check`], or as [`Bar::read`].
    pub(super) fn expect_samples(&self, vm: &mut Vm, contents: Contents) -> Result<(), GuestError> {
        [STORED_TO, MEMORY_BYTES / 2, MEMORY_BYTES - BLOCK]
            .into_iter()
            .try_for_each(|offset| self.expect_word(vm, offset, contents.word(offset)))
    }

    /// Fails unless the eight bytes at `offset` are `expected`.
    ///
    /// # Errors
    /// [`GuestError::Check`], or as [`Bar::read`].
    pub(super) fn expect_word(&self, vm: &mut Vm, offset: u64, expected: u64) -> Result<(), GuestError> {
        let found = self.read(vm, offset)?;
        if found == expected {
            return Ok(());
        }
        Err(GuestError::Check(format!("the guest reads {found:#018x} at {offset:#x}, not {expected:#018x}")))
    }

    /// Starts a program that maps the BAR once and then stores to its first [`STORED_TO`] bytes without end; waits for
    /// the first store to `before`.
    ///
    /// # Errors
    /// [`GuestError::Guest`] when nothing is stored, or what running commands in the guest can give.
    pub(super) fn start_storing(&self, vm: &mut Vm, before: Contents) -> Result<(), GuestError> {
        let job = format!(
            "fio {COMMON} --name=storer --rw=randwrite --bs=64 --size={STORED_TO} --time_based --runtime=3600"
        );
        vm.run(&format!("({job} >/tmp/storer-log 2>&1; echo $? >/tmp/storer-status) >/dev/null 2>&1 &"))?;
        let (address, word) = (self.address, before.word(0));
        vm.run(&format!(
            "for i in $(seq 600); do test $(devmem {address:#x} 64) = 0x{word:016X} || exit 0; sleep 0.1; done; \
             cat /tmp/storer-log; exit 1"
        ))
        .map(drop)
    }

    /// Ends it, and checks that nothing else did: a store to a mapping that is gone must not be an error to it.
    ///
    /// # Errors
    /// [`GuestError::Guest`] with its output when it had ended before, or what running commands in the guest can give.
    pub(super) fn stop_storing(&self, vm: &mut Vm) -> Result<(), GuestError> {
        // 128 is how fio ends after a signal.
        vm.run(
            "test -e /tmp/storer-status || kill $(pidof fio); \
             for i in $(seq 600); do test -s /tmp/storer-status && break; sleep 0.1; done; \
             read -r status </tmp/storer-status; rm -f /tmp/storer-status; \
             test \"$status\" = 128 || { cat /tmp/storer-log; exit 1; }",
        )
        .map(drop)
    }
}

fn check_all(vm: &mut Vm, direction: &str, contents: Contents) -> Result<(), GuestError> {
    let pattern = contents.for_fio();
    vm.run(&format!(
        "fio {COMMON} --name=all --rw={direction} --bs={BLOCK} --size={MEMORY_BYTES} --verify=pattern \
         --verify_pattern={pattern} --do_verify=1 --verify_fatal=1"
    ))
    .map(drop)
    .map_err(|error| why(contents, error))
}

/// Puts first what an error's output says is wrong with the contents, if it does.
fn why(expected: Contents, error: GuestError) -> GuestError {
    let GuestError::Guest { output, .. } = &error else { return error };
    let telling = |line: &&str| line.contains("got pattern") || line.contains("verify failed at");
    let found: Vec<_> = output.lines().filter(telling).collect();
    if found.is_empty() {
        return error;
    }
    GuestError::Check(format!("the BAR does not hold {expected:?}: {}", found.join("; ")))
}

/// The address and length of a BAR in sysfs' table of resources: one line each, with the first and last address.
fn range(table: &str, index: usize) -> Option<(u64, u64)> {
    let number = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).ok();
    let mut words = table.lines().nth(index)?.split_whitespace();
    let (first, last) = (number(words.next()?)?, number(words.next()?)?);
    Some((first, last.checked_sub(first)? + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_found_by_the_number_of_its_line() {
        let table = "0x00000000fe600000 0x00000000fe6000ff 0x0000000000040200\n0x0 0x0 0x0\n\
            0x00000000fea00000 0x00000000feafffff 0x000000000014220c\n";
        assert_eq!(range(table, 2), Some((0xfea0_0000, 1 << 20)));
        assert_eq!(range(table, 3), None);
    }

    #[test]
    fn a_failure_tells_first_what_is_wrong_with_the_contents() {
        let guest =
            |output: &str| GuestError::Guest { command: "fio".into(), status: 1, output: output.into() };
        let output = "all: (g=0): rw=read\nfio: got pattern '00', wanted 'ff'. Bad bits 8\n\
            pattern: verify failed at file /tmp/bar offset 0, length 4096\n";
        let error = why(Contents::Ones, guest(output)).to_string();
        let start =
            "the BAR does not hold Ones: fio: got pattern '00', wanted 'ff'. Bad bits 8; pattern: verify";
        assert!(error.starts_with(start), "{error}");
        assert!(matches!(why(Contents::Ones, guest("fio: no such file")), GuestError::Guest { .. }));
    }

    #[test]
    fn the_word_of_a_pattern_is_what_fio_lays_down() {
        // fio 3.39 with --verify_pattern=0x50435554%o, the block at 0x1000: 50 43 55 54 00 10 00 00.
        assert_eq!(Contents::Pattern(0x5043_5554).word(0x1000), 0x0000_1000_5455_4350);
        assert_eq!(Contents::Pattern(0x5043_5554).for_fio(), "0x50435554%o");
    }
}
