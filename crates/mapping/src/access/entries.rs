//! The table of accesses that may fail.
//!
//! Every access adds an entry beside its instruction, by `.pushsection`. The linker joins the entries of all object files to one
//! array and gives its bounds the names `__start_` and `__stop_` with the section's name. Both halves of an entry are relative
//! to themselves, so that a program that is loaded anywhere needs no relocation for them.
//!
//! The section's name has the crate's version: two versions in one program have a table and a handler each, and need not agree
//! on what an entry or a failure is.
//!
//! No entry is lost on the way: the section is marked as retained (`R`), so that a linker that drops what nobody refers to keeps
//! it, and it is in the group of its instruction's section if that has one (`?`), so that both are dropped together as
//! duplicates. Optimisation at link time works on the instruction and its entry as one piece, and copies both or neither.

use super::arch;

/// Where an instruction is, and where its thread goes on when it failed; both as the distance from the field itself.
#[repr(C)]
pub(super) struct Entry {
    instruction: i32,
    resume: i32,
}

/// A name that is seen by the linker, made this version's own. Two versions of the crate may be in one program.
macro_rules! versioned {
    ($($name:literal),+) => {
        concat!(
            $($name,)+ "_",
            env!("CARGO_PKG_VERSION_MAJOR"), "_",
            env!("CARGO_PKG_VERSION_MINOR"), "_",
            env!("CARGO_PKG_VERSION_PATCH")
        )
    };
}
pub(super) use versioned;

/// One access: the instruction, and its entry. The section has the same name and flags everywhere.
macro_rules! accessing {
    ($instruction:literal, $($operands:tt)*) => {
        std::arch::asm!(
            concat!("2: ", $instruction),
            "3:",
            concat!(".pushsection ", versioned!("portcullis_accesses"), ", \"aR?\", %progbits"),
            ".balign 4",
            ".long 2b - .",
            ".long 3b - .",
            ".popsection",
            $($operands)*
        )
    };
}
pub(super) use accessing;

/// Where the thread goes on whose access at `instruction` failed; `None` if no access is there. Async-signal-safe.
pub(super) fn resume_after(instruction: usize) -> Option<usize> {
    all().iter().find(|entry| target(&entry.instruction) == instruction).map(|entry| target(&entry.resume))
}

/// Entries of this program or library.
pub(super) fn all() -> &'static [Entry] {
    let (start, end) = arch::bounds();
    let count = (end as usize).saturating_sub(start as usize) / size_of::<Entry>();
    // SAFETY: the linker's bounds of the section, which is loaded read-only, is aligned, and has nothing but entries.
    unsafe { std::slice::from_raw_parts(start, count) }
}

/// Where a distance leads.
fn target(distance: &i32) -> usize {
    (std::ptr::from_ref(distance) as usize).wrapping_add_signed(*distance as isize)
}
