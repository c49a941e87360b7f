//! Somebody outside of the slot who has a function of it: a process, a virtual machine.

use super::House;
use super::board::Board;
use crate::machine::tally::note;
use assign::{Assignment, Attached};
use gate::{Deadline, ThreadToken};
use museum::unplug::held::Held;
use pci_spec::Command;
use slot::{Consumer, Controller, Event};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Where vfio has the registers of a function, and its first BAR.
const CONFIG: u32 = 7;
const BAR: u32 = 0;

/// See the module's head. Its lock is never held over a scheduling point.
pub(crate) struct Holder {
    pub(crate) assignment: Arc<Assignment>,
    hold: Mutex<Option<Attached>>,
    slot: Weak<Controller>,
    board: Arc<Board>,
    /// It was asked to let go, or lost everything.
    asked: Held,
}

impl Holder {
    /// Has the first function of a slot from now on, if there is one and nobody has it.
    pub(crate) fn attach(house: &House, nth: usize, token: &mut ThreadToken) -> Option<Arc<Holder>> {
        let assignment = house.bays[nth].function()?;
        let slot = Arc::downgrade(&house.slots[nth]);
        let (hold, asked, board) = (Mutex::default(), Held::default(), house.board.clone());
        let holder = Holder { assignment, hold, slot, board, asked };
        let holder = Arc::new(holder);
        // Known to the slot first: who has something is then always somebody whom it can ask.
        house.slots[nth].add_consumer(holder.clone());
        let attached = holder.assignment.attach(token);
        note("attach", &attached);
        let Ok(attached) = attached else {
            let consumer: Arc<dyn Consumer> = holder;
            house.slots[nth].remove_consumer(&consumer);
            return None;
        };
        *holder.hold() = Some(attached);
        holder.master(token);
        if holder.assignment.is_gone() {
            // It was revoked before there was anything to take.
            holder.let_go(token);
        }
        Some(holder)
    }

    fn hold(&self) -> MutexGuard<'_, Option<Attached>> {
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Switches bus mastering and system errors on, as a driver does.
    fn master(&self, token: &mut ThreadToken) {
        let command = Command::MEMORY_SPACE | Command::BUS_MASTER | Command::SERR_ENABLE;
        let command = command.bits().to_le_bytes();
        let at = u64::from(pci_spec::config::COMMAND);
        note("write", &self.assignment.region_write(token, CONFIG, at, &command));
    }

    pub(crate) fn wait_until_asked(&self) {
        self.asked.wait_until_asked();
    }

    /// Lets go, if it has something still.
    pub(crate) fn let_go(&self, token: &mut ThreadToken) {
        let hold = self.hold().take();
        if let Some(hold) = hold {
            note("let go", &Ok::<_, ()>(()));
            // It writes COMMAND last.
            self.board.meddle();
            hold.detach(token);
            if let Some(slot) = self.slot.upgrade() {
                slot.post(Event::Released);
            }
        }
    }

    /// Registers and a BAR, as a client of vfio reaches them. Whatever happens to the function, there is an answer.
    pub(crate) fn access(&self, token: &mut ThreadToken) {
        let mut data = [0; 4];
        note("read", &self.assignment.region_read(token, CONFIG, 0, &mut data));
        let gone = self.assignment.is_gone();
        note("BAR write", &self.assignment.region_write(token, BAR, 0, &data));
        let mut data = [0; 4];
        let read = self.assignment.region_read(token, BAR, 0, &mut data);
        note("BAR read", &read);
        if gone {
            note("read of what is gone", &read);
            assert!(read.is_err() || data == [u8::MAX; 4], "{data:x?} from a function that is gone (law 5)");
        }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.assignment.is_gone()
    }

    /// Nothing reaches the device any more, from the moment on in which its loss was posted (HP-12).
    pub(crate) fn assert_cut_off(&self, token: &mut ThreadToken) {
        let mut data = [0; 4];
        let read = self.assignment.region_read(token, BAR, 0, &mut data);
        assert!(read.is_err() || data == [u8::MAX; 4], "{data:x?} from a card that is lost");
    }

    /// Registers only.
    pub(crate) fn look(&self, token: &mut ThreadToken) {
        note("look", &self.assignment.region_read(token, CONFIG, 0, &mut [0; 4]));
    }
}

impl Consumer for Holder {
    fn describe(&self) -> String {
        "holder".to_owned()
    }

    fn request(&self, _token: &mut ThreadToken, _nth: u32) {
        note("request", &Ok::<_, ()>(()));
        self.asked.ask();
    }

    fn revoke(&self, token: &mut ThreadToken, deadline: Deadline) -> Vec<String> {
        let hold = self.hold().take();
        self.asked.ask();
        let Some(hold) = hold else { return Vec::new() };
        note("revocation", &Ok::<_, ()>(()));
        match hold.detach_by(token, deadline) {
            0 => Vec::new(),
            orphans => vec![format!("{orphans} mappings")],
        }
    }

    fn holds(&self) -> bool {
        self.hold().is_some()
    }
}
