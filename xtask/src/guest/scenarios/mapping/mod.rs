//! *mapping*: the guest maps a BAR of an endpoint-test function and uses it without a message, and everything that takes
//! the BAR away reaches it all the same: a freeze, its own COMMAND register, a function level reset, revocation.
//!
//! QEMU maps the memory file that the daemon gives it; under software emulation a load of the guest is then a load of
//! QEMU's. The daemon cannot unmap it there. So what is tested is what it does instead: the file is filled with all-ones
//! and the device goes on elsewhere.
//!
//! What is *not* expected: that the guest cannot read back what it stores itself while the function is frozen or gone.
//! The stores go to a file that nobody reads any more.

mod bar;
mod host;

use crate::guest::GuestError;
use crate::guest::address::FUNCTION;
use crate::guest::control::Admission;
use crate::guest::rig::Rig;
use crate::guest::vm::Vm;
use bar::{BLOCK, Bar, Contents, STORED_TO};
use host::Host;
use serde_json::json;
use std::time::Instant;

/// What the guest has in the BAR before the function level reset, and after it.
const BEFORE: Contents = Contents::Pattern(0x506f_7274);
const AFTER: Contents = Contents::Pattern(0x6375_6c6c);

/// Where the guest stores what must be lost, and what it stores there.
const LOST_AT: u64 = STORED_TO + BLOCK;
const LOST: u64 = 0x4c4f_5354_4c4f_5354;

/// How often the function is frozen and thawed while the guest stores to it without end.
const ROUNDS: u32 = 10;

/// Runs the scenario.
///
/// # Errors
/// The first thing that went wrong.
pub(super) fn run(rig: &mut Rig<'_>) -> Result<(), GuestError> {
    let mut vm = rig.boot()?;
    let (host, bar) = (Host::connect(rig)?, Bar::find(&mut vm)?);
    let mut stage = Stage { rig, vm, host, bar };
    stage.is_mapped()?;
    stage.freeze_and_thaw()?;
    stage.freeze_and_thaw_under_stores()?;
    stage.disable_and_enable()?;
    stage.reset()?;
    stage.revoke()?;
    stage.lives_on()
}

/// What the steps work on.
struct Stage<'a, 'lab> {
    rig: &'a mut Rig<'lab>,
    vm: Vm,
    host: Host,
    bar: Bar,
}

impl Stage<'_, '_> {
    /// What the guest stores is the device's, and needs no answer of the daemon.
    fn is_mapped(&mut self) -> Result<(), GuestError> {
        self.rig.progress("the guest maps the BAR and fills it");
        self.bar.expect(&mut self.vm, Contents::Zeroes)?;
        self.bar.fill(&mut self.vm, BEFORE)?;
        self.host.expect_mapping("live")?;
        self.host.expect_memory(BEFORE)?;
        self.rig.progress("the daemon stands still, and the guest reads and writes");
        let (vm, bar) = (&mut self.vm, &self.bar);
        // A message would have no answer, and after 5 s QEMU would make one up: all-ones.
        self.rig.without_the_daemon(|| {
            bar.expect_samples(vm, BEFORE)?;
            bar.write(vm, 0, LOST)?;
            bar.expect_word(vm, 0, LOST)
        })?;
        if self.host.memory()? != LOST {
            return Err(GuestError::Check("the device has not what the guest stored".into()));
        }
        self.bar.write(&mut self.vm, 0, BEFORE.word(0))?;
        self.rig.fact("mapped", true);
        Ok(())
    }

    /// Frozen, the guest reads all-ones everywhere and what it stores is lost; thawed, all is as it was.
    fn freeze_and_thaw(&mut self) -> Result<(), GuestError> {
        self.rig.progress("freeze, look at all of it, thaw");
        self.host.admit(Admission::Freeze)?;
        self.bar.expect(&mut self.vm, Contents::Ones)?;
        self.bar.write(&mut self.vm, LOST_AT, LOST)?;
        self.bar.write(&mut self.vm, 0, LOST)?;
        self.host.expect_memory(BEFORE)?;
        self.host.admit(Admission::Thaw)?;
        self.bar.expect(&mut self.vm, BEFORE)?;
        self.host.expect_memory(BEFORE)?;
        self.rig.fact("frozen", "all-ones, then as before");
        Ok(())
    }

    /// The same again and again while a program in the guest stores through a mapping that it has had all along.
    fn freeze_and_thaw_under_stores(&mut self) -> Result<(), GuestError> {
        self.rig.progress(&format!("freeze and thaw {ROUNDS} times while the guest stores without end"));
        self.bar.start_storing(&mut self.vm, BEFORE)?;
        let mut longest_us = 0;
        for _ in 0..ROUNDS {
            let start = Instant::now();
            self.host.admit(Admission::Freeze)?;
            longest_us = longest_us.max(start.elapsed().as_micros());
            let before = self.host.memory()?;
            self.bar.expect_samples(&mut self.vm, Contents::Ones)?;
            if self.host.memory()? != before {
                return Err(GuestError::Check("a store reached the device while it was frozen".into()));
            }
            self.host.admit(Admission::Thaw)?;
            self.bar.expect_samples(&mut self.vm, BEFORE)?;
        }
        self.bar.stop_storing(&mut self.vm)?;
        self.bar.fill(&mut self.vm, BEFORE)?;
        let longest_ms = longest_us as f64 / 1000.0;
        self.rig.fact("freeze_under_stores", json!({"rounds": ROUNDS, "longest_ms": longest_ms}));
        Ok(())
    }

    /// With Memory Space Enable clear QEMU unmaps the BAR: nothing of it can be read, and stores are lost (VF-20). What a
    /// load gives is QEMU's choice then, and the host's memory is left alone.
    fn disable_and_enable(&mut self) -> Result<(), GuestError> {
        self.rig.progress("the guest clears Memory Space Enable, and sets it");
        self.vm.run(&format!("setpci -s {FUNCTION} COMMAND.w=0:2"))?;
        let found = self.bar.read(&mut self.vm, LOST_AT)?;
        if found == BEFORE.word(LOST_AT) {
            return Err(GuestError::Check("the guest reads a BAR that is disabled".into()));
        }
        self.bar.write(&mut self.vm, LOST_AT, LOST)?;
        self.bar.write(&mut self.vm, 0, LOST)?;
        self.host.expect_memory(BEFORE)?;
        self.vm.run(&format!("setpci -s {FUNCTION} COMMAND.w=2:2"))?;
        self.bar.expect(&mut self.vm, BEFORE)?;
        self.rig.fact("disabled", format!("{found:#x}, then as before"));
        Ok(())
    }

    /// A function level reset clears the memory, also as the guest has it mapped.
    fn reset(&mut self) -> Result<(), GuestError> {
        self.rig.progress("the guest resets the function");
        let directory = format!("/sys/bus/pci/devices/{FUNCTION}");
        self.vm.run(&format!("echo flr >{directory}/reset_method && echo 1 >{directory}/reset"))?;
        self.bar.expect(&mut self.vm, Contents::Zeroes)?;
        self.host.expect_memory(Contents::Zeroes)?;
        self.bar.fill(&mut self.vm, AFTER)?;
        self.host.expect_memory(AFTER)?;
        self.rig.fact("reset", "zeroes, and still mapped");
        Ok(())
    }

    /// Revoked under the hands of a program that stores: all-ones for good, and no store reaches the device.
    fn revoke(&mut self) -> Result<(), GuestError> {
        self.rig.progress("revoke while the guest stores without end");
        self.bar.start_storing(&mut self.vm, AFTER)?;
        self.host.admit(Admission::Revoke)?;
        self.bar.expect_samples(&mut self.vm, Contents::Ones)?;
        self.bar.write(&mut self.vm, 0, LOST)?;
        self.bar.write(&mut self.vm, LOST_AT, LOST)?;
        self.host.expect_memory(Contents::Zeroes)?;
        self.bar.stop_storing(&mut self.vm)?;
        self.host.expect_memory(Contents::Zeroes)?;
        self.host.expect_mapping("gone")?;
        self.rig.fact("revoked", "all-ones, and no store reaches the device");
        Ok(())
    }

    /// A guest whose function is gone goes on, sees an absent function, and switches its machine off.
    fn lives_on(mut self) -> Result<(), GuestError> {
        let vendor = self.vm.run(&format!("setpci -s {FUNCTION} VENDOR_ID.w"))?;
        if vendor.trim() != "ffff" {
            return Err(GuestError::Check(format!("the vendor of a function that is gone reads {vendor}")));
        }
        self.vm.run("dd if=/dev/zero of=/tmp/file bs=1M count=16 && sync && rm /tmp/file")?;
        self.vm.check_kernel_log()?;
        self.rig.progress("the guest switches its machine off");
        self.vm.power_off()
    }
}
