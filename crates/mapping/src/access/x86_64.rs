//! The accesses on x86_64. The address is in `rdi`, and null there afterwards means failed.

use std::arch::asm;

use super::entries::{Entry, accessing, versioned};
use super::sealed::Word;

// The names have each function made once, in this crate's own file (module head of `access`).
macro_rules! word {
    ($word:ty, $name:literal, $load:literal, $loaded:ty, $store:literal, $stored:ident) => {
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
                        inout("rdi") from => after,
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
                        inout("rdi") to => after,
                        value = in($stored) value,
                        options(nostack, preserves_flags)
                    );
                }
                !after.is_null()
            }
        }
    };
}

word!(u8, "u8", "movzx {value:e}, byte ptr [rdi]", u32, "mov byte ptr [rdi], {value}", reg_byte);
word!(u16, "u16", "movzx {value:e}, word ptr [rdi]", u32, "mov word ptr [rdi], {value:x}", reg);
word!(u32, "u32", "mov {value:e}, dword ptr [rdi]", u32, "mov dword ptr [rdi], {value:e}", reg);
word!(u64, "u64", "mov {value:r}, qword ptr [rdi]", u64, "mov qword ptr [rdi], {value:r}", reg);

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
            concat!("lea {start}, [rip + ", versioned!("__start_portcullis_accesses"), "]"),
            concat!("lea {end}, [rip + ", versioned!("__stop_portcullis_accesses"), "]"),
            start = out(reg) start,
            end = out(reg) end,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    (start, end)
}

/// The instruction that was interrupted.
pub(super) fn instruction(context: &libc::ucontext_t) -> usize {
    usize::from_ne_bytes(context.uc_mcontext.gregs[RIP].to_ne_bytes())
}

/// Has the interrupted thread go on at `resume`, with a failed access.
pub(super) fn fail(context: &mut libc::ucontext_t, resume: usize) {
    context.uc_mcontext.gregs[RDI] = 0;
    context.uc_mcontext.gregs[RIP] = i64::from_ne_bytes(resume.to_ne_bytes());
}

const RIP: usize = libc::REG_RIP as usize;
const RDI: usize = libc::REG_RDI as usize;
