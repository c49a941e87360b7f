//! Handles against a simple model: with so few bits that indexes are used up, used again and run out all the time.

#![allow(clippy::unwrap_used, reason = "test code")]

use crate::handle::Handle;
use crate::handles::Layout;
use crate::id::{Fid, Uid};
use crate::state::{Configuration, Work};
use crate::transition::RenewError;
use crate::view::View;
use crate::zdev::Zdev;
use crate::{Description, Settings, Zpci};
use gate::{Gate, Pass, Quiesced, ThreadToken};
use pci_core::{BarIndex, ConfigSpace, Device, Function, Identity, ResetKind};
use proptest::prelude::*;
use std::collections::HashSet;
use std::sync::Arc;

const INDEX_BITS: u32 = 2;
const GENERATION_BITS: u32 = 2;
const PLACES: usize = 3;

struct Nothing;

impl Device for Nothing {
    fn read_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &mut [u8]) {}
    fn write_bar(&self, _pass: &Pass<'_>, _bar: BarIndex, _offset: u64, _data: &[u8]) {}
    fn reset(&self, _quiesced: &Quiesced<'_>, _kind: ResetKind) {}
    fn describe(&self) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// Of a device that does nothing.
pub(crate) fn view(zdev: &Arc<Zdev>) -> Arc<View> {
    let identity = Identity::new(0x1b36, 0x0010, pci_spec::ClassCode::NVME);
    let config = Arc::new(ConfigSpace::builder(identity).build().unwrap());
    View::of_function(
        zdev,
        Arc::new(Function::new("model", Gate::new("model"), config, Arc::new(Nothing))),
        8,
    )
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Forget,
    Card(bool),
    BringIn,
    TakeOut,
    Owner {
        enable: bool,
    },
    Guest {
        enable: bool,
    },
    /// A claim is made, the device is exchanged, and then the claim is used.
    Late {
        enable: bool,
    },
}

fn any_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        1 => Just(Act::Forget),
        2 => any::<bool>().prop_map(Act::Card),
        4 => Just(Act::BringIn),
        3 => Just(Act::TakeOut),
        3 => any::<bool>().prop_map(|enable| Act::Owner { enable }),
        3 => any::<bool>().prop_map(|enable| Act::Guest { enable }),
        1 => any::<bool>().prop_map(|enable| Act::Late { enable }),
    ]
}

/// What one place should be.
#[derive(Default)]
struct Place {
    zdev: Option<Arc<Zdev>>,
    view: Option<Arc<View>>,
    present: bool,
    handle: Handle,
}

struct Model {
    zpci: Arc<Zpci>,
    token: ThreadToken,
    places: [Place; PLACES],
    /// Views that are not there any more.
    gone: Vec<Arc<View>>,
    seen: HashSet<Handle>,
}

impl Model {
    fn new(token: ThreadToken) -> Model {
        let zpci = Zpci::with_layout(Settings::default(), Layout::new(INDEX_BITS, GENERATION_BITS));
        Model { zpci, token, places: Default::default(), gone: Vec::new(), seen: HashSet::new() }
    }

    fn act(&mut self, at: usize, act: Act) {
        let zdev = self.zdev(at);
        let before = zdev.handle();
        let enabled = match act {
            Act::Forget => {
                self.zpci.remove(&mut self.token, zdev.fid()).unwrap();
                assert!(zdev.handle().is_none());
                let forgotten = std::mem::take(&mut self.places[at]);
                self.gone.extend(forgotten.view);
                return;
            }
            Act::Card(present) => {
                zdev.card(present);
                let place = &mut self.places[at];
                if place.present == present || place.view.is_some() {
                    place.present = present;
                    assert_eq!(zdev.handle(), before);
                    return;
                }
                place.present = present;
                false
            }
            Act::BringIn => {
                let view = view(&zdev);
                assert_eq!(zdev.bring_in(&mut self.token, Arc::clone(&view)), zdev.handle());
                self.gone.extend(self.places[at].view.replace(view));
                true
            }
            Act::TakeOut => {
                zdev.take_out(&mut self.token);
                let Some(view) = self.places[at].view.take() else {
                    return assert_eq!(zdev.handle(), before);
                };
                self.gone.push(view);
                false
            }
            Act::Owner { enable } => match zdev.begin(Work::Recovery).unwrap().renew(&mut self.token, enable)
            {
                Ok(handle) => return self.renewed(at, handle, enable),
                Err(error) => return self.refused(at, error, before),
            },
            Act::Guest { enable } => match zdev.begin(Work::SetFunction).unwrap().renew_in_place(enable) {
                Ok(handle) => return self.renewed(at, handle, enable),
                Err(RenewError::UsedUp) => return assert_eq!(zdev.handle(), before),
                Err(error) => return self.refused(at, error, before),
            },
            Act::Late { enable } => return self.late(at, enable),
        };
        self.changed(at, enabled);
    }

    fn zdev(&mut self, at: usize) -> Arc<Zdev> {
        if self.places[at].zdev.is_none() {
            let fid = Fid(u32::try_from(at).unwrap());
            self.places[at].zdev = Some(self.zpci.add(fid, Uid::NONE, Description::default()).unwrap());
        }
        self.places[at].zdev.clone().unwrap()
    }

    fn late(&mut self, at: usize, enable: bool) {
        let Some(zdev) = self.places[at].zdev.clone() else { return };
        let Some(claim) = zdev.begin(Work::Reset) else { return };
        self.act(at, Act::TakeOut);
        self.act(at, Act::BringIn);
        let before = zdev.handle();
        assert_eq!(claim.renew_in_place(enable), Err(RenewError::Gone));
        assert_eq!(claim.renew(&mut self.token, enable), Err(RenewError::Gone));
        assert_eq!(zdev.handle(), before);
    }

    fn renewed(&mut self, at: usize, handle: Handle, enable: bool) {
        assert_eq!(self.places[at].zdev.as_ref().unwrap().handle(), handle);
        assert!(!handle.is_none());
        self.changed(at, enable);
    }

    fn refused(&mut self, at: usize, error: RenewError, before: Handle) {
        assert_eq!(self.places[at].zdev.as_ref().unwrap().handle(), before);
        match error {
            RenewError::Gone => assert!(self.places[at].view.is_none()),
            RenewError::UsedUp => self.assert_used_up(),
        }
    }

    /// The place has another handle than ever, or none because there is no device or no handle.
    fn changed(&mut self, at: usize, enabled: bool) {
        let handle = self.places[at].zdev.as_ref().unwrap().handle();
        let place = &mut self.places[at];
        place.handle = handle;
        if place.view.is_none() && !place.present {
            assert_eq!(handle, Handle::NONE);
        } else if handle.is_none() {
            self.assert_used_up();
        } else {
            assert!(self.seen.insert(handle), "{handle} was given out before");
            assert_eq!(handle.is_enabled(), enabled);
        }
    }

    fn assert_used_up(&self) {
        if let Some(series) = self.zpci.allot_for_test() {
            panic!("{series:?} was left");
        }
    }

    /// Every handle that there could be names what it should.
    fn check(&self) {
        for place in self.places.iter().filter(|place| place.zdev.is_some()) {
            let zdev = place.zdev.as_ref().unwrap();
            let configuration = match (&place.view, place.present) {
                (Some(_), _) => Configuration::Configured,
                (None, true) => Configuration::Standby,
                (None, false) => Configuration::Reserved,
            };
            assert_eq!((zdev.configuration(), zdev.handle()), (configuration, place.handle));
            assert_eq!(
                place.view.as_ref().map(|view| view.handle()),
                place.view.as_ref().map(|_| place.handle)
            );
        }
        assert!(self.gone.iter().all(|view| view.handle().is_none()));
        for below in 0..1 << (INDEX_BITS + GENERATION_BITS) {
            for handle in [Handle::of(below, false), Handle::of(below, true)] {
                let expected = self.places.iter().find(|place| !handle.is_none() && place.handle == handle);
                let zdev = self.zpci.zdev_by_handle(handle);
                let standing = expected.and_then(|place| place.zdev.as_ref());
                assert_eq!(zdev.as_ref().map(Arc::as_ptr), standing.map(Arc::as_ptr), "{handle}");
                let expected = expected.and_then(|place| place.view.as_ref()).map(Arc::as_ptr);
                let found = self.zpci.by_handle(&self.token, handle);
                assert_eq!(found.as_ref().map(Arc::as_ptr), expected, "{handle}");
            }
        }
    }
}

proptest! {
    #[test]
    fn no_handle_is_given_out_twice_and_each_names_what_it_was_given_for(
        acts in prop::collection::vec((0..PLACES, any_act()), 0..60)
    ) {
        let mut model = Model::new(ThreadToken::at_thread_entry());
        for (at, act) in acts {
            model.act(at, act);
            model.check();
        }
    }
}
