//! Who follows a gate's state: tells of changes overtake each other, and the last look sees the last change.

use super::*;
use gate::lock::Leaf;

mod ranks {
    gate::ranks! {
        /// What is shown.
        pub Shown = 70, "shown";
    }
}

/// Shows what the gate admits, as a window does: it looks under a lock of its own, at each call.
struct Follower {
    handle: Handle,
    shown: Leaf<ranks::Shown, Admission>,
}

impl Follower {
    /// Shows an open gate, and has not looked.
    fn of(gate: &Gate) -> std::sync::Arc<Follower> {
        std::sync::Arc::new(Follower { handle: gate.handle(), shown: Leaf::new(Admission::Open) })
    }

    fn shown(&self) -> Admission {
        *self.shown.lock()
    }

    /// What an owner of the gate does for itself, about to end a freeze.
    fn reveal(&self, _: &impl Exclusive) {
        *self.shown.lock() = Admission::Open;
    }

    /// Nobody changes the gate any more.
    #[track_caller]
    fn assert_up_to_date(&self, admission: Admission) {
        assert_eq!((self.shown(), self.handle.admission()), (admission, admission));
    }
}

impl Wake for Follower {
    fn wake(&self) {
        let mut shown = self.shown.lock();
        *shown = self.handle.admission();
    }
}

/// One thread makes a change, the other one subscribes and looks.
fn a_change_and_a_new_subscriber(
    prepare: fn(&Gate),
    change: fn(&Gate, &mut ThreadToken),
    admission: Admission,
) {
    two_threads(move || {
        let gate = Gate::new("f");
        let follower = Follower::of(&gate);
        prepare(&gate);
        let changer = thread::spawn({
            let gate = gate.clone();
            move || change(&gate, &mut ThreadToken::at_thread_entry())
        });
        let subscription = gate.handle().subscribe(follower.clone());
        follower.wake();
        changer.join().unwrap();
        follower.assert_up_to_date(admission);
        drop(subscription);
    });
}

#[test]
fn a_freeze_is_never_lost_on_who_is_just_subscribing() {
    a_change_and_a_new_subscriber(|_| {}, |gate, _| assert!(gate.freeze()), Admission::Frozen);
}

#[test]
fn no_other_change_is_lost_on_who_is_just_subscribing() {
    let freeze = |gate: &Gate| assert!(gate.freeze());
    a_change_and_a_new_subscriber(freeze, |gate, _| assert!(gate.thaw()), Admission::Open);
    a_change_and_a_new_subscriber(
        |_| {},
        |gate, token| drop(gate.close(token, RESET, ahead()).unwrap()),
        Admission::Open,
    );
    a_change_and_a_new_subscriber(
        |_| {},
        |gate, token| assert!(gate.retire(token, ahead()).orphans.is_empty()),
        Admission::Gone,
    );
}

#[test]
fn from_the_return_of_freeze_on_a_closer_that_comes_and_goes_changes_nothing() {
    two_threads(|| {
        let gate = Gate::new("f");
        let follower = Follower::of(&gate);
        let subscription = gate.handle().subscribe(follower.clone());
        let closer = thread::spawn({
            let gate = gate.clone();
            move || drop(gate.close_short(&mut ThreadToken::at_thread_entry(), RESET, ahead()).unwrap())
        });
        assert!(gate.freeze());
        follower.assert_up_to_date(Admission::Frozen);
        closer.join().unwrap();
        follower.assert_up_to_date(Admission::Frozen);
        drop(subscription);
    });
}

#[test]
fn a_freeze_under_an_owner_takes_back_what_the_owner_has_revealed() {
    // When it was frozen before, and frozen again while the owner is about to thaw.
    two_threads(|| {
        let gate = Gate::new("f");
        let follower = Follower::of(&gate);
        let subscription = gate.handle().subscribe(follower.clone());
        assert!(gate.freeze());
        let owner = thread::spawn({
            let (gate, follower) = (gate.clone(), follower.clone());
            move || {
                let mut token = ThreadToken::at_thread_entry();
                let quiesced = gate.close(&mut token, RESET, ahead()).unwrap();
                follower.reveal(&quiesced);
                quiesced.thaw()
            }
        });
        gate.freeze();
        let thawed = owner.join().unwrap();
        let admission = gate.handle().admission();
        assert!(thawed || admission == Admission::Frozen, "{admission:?}");
        follower.assert_up_to_date(admission);
        drop(subscription);
    });
}

#[test]
fn a_freeze_and_a_thaw_that_overtake_each_other_are_followed_to_the_end() {
    two_threads(|| {
        let gate = Gate::new("f");
        let follower = Follower::of(&gate);
        let subscription = gate.handle().subscribe(follower.clone());
        let thaws = thread::spawn({
            let gate = gate.clone();
            move || gate.thaw()
        });
        assert!(gate.freeze());
        let thawed = thaws.join().unwrap();
        follower.assert_up_to_date(if thawed { Admission::Open } else { Admission::Frozen });
        drop(subscription);
    });
}

#[test]
fn an_attempt_that_fails_is_never_what_a_follower_is_left_with() {
    // A try tells nobody, so a look in the middle of it has no second one after it.
    two_threads(|| {
        let gate = Gate::new("f");
        let follower = Follower::of(&gate);
        let subscription = gate.handle().subscribe(follower.clone());
        let handle = gate.handle();
        let looker = thread::spawn({
            let follower = follower.clone();
            move || {
                let token = ThreadToken::at_thread_entry();
                let pass = handle.try_enter(&token, CONFIG);
                follower.wake();
                drop(pass);
            }
        });
        let token = ThreadToken::at_thread_entry();
        drop(gate.try_close(&token, RESET));
        looker.join().unwrap();
        follower.assert_up_to_date(Admission::Open);
        drop(subscription);
    });
}
