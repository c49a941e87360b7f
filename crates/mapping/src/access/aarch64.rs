//! The accesses on aarch64. The address is in `x0`, and null there afterwards means failed.

use std::arch::asm;

use super::entries::{Entry, accessing, versioned};
use super::sealed::Word;

// The names have each function made once, in this crate's own file (module head of `access`).
macro_rules! word {
    ($word:ty, $name:literal, $load:literal, $loaded:ty, $store:literal) => {
        #[allow(clippy::cast_possible_truncation, reason = "a narrow load clears the rest of its register")]
        impl Word for $word {
            fn widened(self) -> u64 {
                self.into()
            }

            fn narrowed(wide: u64) -> $word {
                wide as $word
            }

            #[unsafe(export_name = versioned!("portcullis_load_", $name))]
            unsafe fn load(from: *const $word) -> Option<$word> {
                let after: *const $word;
                let value: $loaded;
                // SAFETY: the caller's promise; a fault is answered by `fail`, which changes nothing but the register.
                unsafe {
                    accessing!(
                        $load,
                        inout("x0") from => after,
                        value = out(reg) value,
                        options(nostack, preserves_flags)
                    );
                }
                if after.is_null() { None } else { Some(value as $word) }
            }

            #[unsafe(export_name = versioned!("portcullis_store_", $name))]
            unsafe fn store(to: *mut $word, value: $word) -> bool {
                let after: *mut $word;
                // SAFETY: as above.
                unsafe {
                    accessing!(
                        $store,
                        inout("x0") to => after,
                        value = in(reg) value,
                        options(nostack, preserves_flags)
                    );
                }
                !after.is_null()
            }
        }
    };
}

word!(u8, "u8", "ldrb {value:w}, [x0]", u32, "strb {value:w}, [x0]");
word!(u16, "u16", "ldrh {value:w}, [x0]", u32, "strh {value:w}, [x0]");
word!(u32, "u32", "ldr {value:w}, [x0]", u32, "str {value:w}, [x0]");
word!(u64, "u64", "ldr {value:x}, [x0]", u64, "str {value:x}, [x0]");

/// The first entry, and where the last ends.
pub(super) fn bounds() -> (*const Entry, *const Entry) {
    let (start, end);
    // SAFETY: two addresses. An empty part of the section makes the linker define its bounds even where nothing accesses;
    // they are hidden, so that a library never gets those of the program.
    unsafe {
        asm!(
            concat!(".pushsection ", versioned!("portcullis_accesses"), ", \"aR?\", %progbits"),
            ".popsection",
            concat!(".hidden ", versioned!("__start_portcullis_accesses")),
            concat!(".hidden ", versioned!("__stop_portcullis_accesses")),
            concat!("adrp {start}, ", versioned!("__start_portcullis_accesses")),
            concat!("add {start}, {start}, :lo12:", versioned!("__start_portcullis_accesses")),
            concat!("adrp {end}, ", versioned!("__stop_portcullis_accesses")),
            concat!("add {end}, {end}, :lo12:", versioned!("__stop_portcullis_accesses")),
            start = out(reg) start,
            end = out(reg) end,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    (start, end)
}

/// The instruction that was interrupted.
pub(super) fn instruction(context: &libc::ucontext_t) -> usize {
    usize::from_ne_bytes(context.uc_mcontext.pc.to_ne_bytes())
}

/// Has the interrupted thread go on at `resume`, with a failed access.
pub(super) fn fail(context: &mut libc::ucontext_t, resume: usize) {
    context.uc_mcontext.regs[0] = 0;
    context.uc_mcontext.pc = u64::from_ne_bytes(resume.to_ne_bytes());
}
