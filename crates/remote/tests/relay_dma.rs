//! The consumer's memory at one back end after the other.
#![allow(clippy::unwrap_used, reason = "test code")]

mod relay_world;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use assign::{DmaRelay, Errno, Mapped, Permissions};
use gate::{Deadline, ThreadToken};
use relay_world::*;
use remote::link::Commands;
use remote::relay::dma::{Dma, ReplayError, Usage};

const PAGE: u64 = 0x1000;

fn world() -> (Arc<assign::Port>, Arc<Dma>, ThreadToken) {
    let port = port();
    let dma = Dma::follow(&port).unwrap();
    (port, dma, ThreadToken::at_thread_entry())
}

#[test]
fn every_back_end_is_told_what_is_mapped_and_of_every_change_after_it() {
    let (_port, dma, mut token) = world();
    map(&dma, &mut token, 0x8000, 2 * PAGE).unwrap();
    let first = Server::new(None);
    attach(&dma, &mut token, &first).unwrap();
    map(&dma, &mut token, 0x1000, PAGE).unwrap();
    assert_eq!(first.reaches(), [(0x1000, PAGE), (0x8000, 2 * PAGE)]);
    unmap(&dma, &mut token, &[(0x8000, 2 * PAGE)]).unwrap();
    assert_eq!(first.reaches(), [(0x1000, PAGE)]);

    first.kill();
    dma.detach();
    map(&dma, &mut token, 0x3000, PAGE).unwrap();
    unmap(&dma, &mut token, &[(0x1000, PAGE)]).unwrap();
    let second = Server::new(None);
    attach(&dma, &mut token, &second).unwrap();
    assert_eq!(second.reaches(), [(0x3000, PAGE)]);
    assert_eq!(second.unmaps(), 0);
    unmap(&dma, &mut token, &[(0x3000, PAGE)]).unwrap();
    assert_eq!((second.reaches(), dma.usage()), (vec![], Usage::default()));
}

#[test]
fn permissions_and_files_are_passed_on_and_each_file_is_kept_once() {
    let (_port, dma, mut token) = world();
    let memory = file(4 * PAGE);
    let readable = Permissions { read: true, write: false };
    for (iova, permissions) in [(0, readable), (PAGE, RW)] {
        let file = Some(memory.try_clone().unwrap());
        let mapped = Mapped { iova, size: PAGE, offset: iova, permissions, file };
        dma.mapped(&mut token, mapped, soon()).unwrap();
    }
    map(&dma, &mut token, 4 * PAGE, PAGE).unwrap();
    assert_eq!(dma.usage(), Usage { mappings: 3, files: 1 });
    let server = Server::new(None);
    attach(&dma, &mut token, &server).unwrap();
    assert_eq!([0, PAGE, 4 * PAGE].map(|iova| server.flags_of(iova)), [Some(1), Some(3), Some(3)]);
    assert_eq!(server.files(), 2, "without a file it is mapped without one");
    unmap(&dma, &mut token, &[(0, PAGE), (PAGE, PAGE), (4 * PAGE, PAGE)]).unwrap();
    assert_eq!(dma.usage(), Usage::default(), "nothing of the consumer's is kept");
}

#[test]
fn a_refused_mapping_is_the_consumers_and_a_lost_one_is_the_next_back_ends() {
    let (_port, dma, mut token) = world();
    let server = Server::new(Some(Fault::RefuseMaps));
    attach(&dma, &mut token, &server).unwrap();
    assert_eq!(map(&dma, &mut token, 0, PAGE).unwrap_err().errno, Errno::ENOMEM);
    assert_eq!((dma.usage().mappings, server.is_lost()), (0, false));
    server.fail(Some(Fault::DieBefore(0)));
    map(&dma, &mut token, 0, PAGE).unwrap();
    // Nobody has noticed yet.
    map(&dma, &mut token, PAGE, PAGE).unwrap();
    let next = Server::new(None);
    attach(&dma, &mut token, &next).unwrap();
    assert_eq!(next.reaches(), [(0, PAGE), (PAGE, PAGE)]);
}

#[test]
fn a_back_end_that_refuses_what_its_predecessor_had_is_lost() {
    let (_port, dma, mut token) = world();
    map(&dma, &mut token, PAGE, PAGE).unwrap();
    let server = Server::new(Some(Fault::RefuseMaps));
    let refused = attach(&dma, &mut token, &server).unwrap_err();
    assert!(matches!(refused, ReplayError::Refused { iova: PAGE, size: PAGE, .. }), "{refused}");
    assert!(server.is_lost());
    assert_eq!(dma.usage().mappings, 1, "the consumer still has it");
    dma.detach();
    let next = Server::new(None);
    attach(&dma, &mut token, &next).unwrap();
    assert_eq!(next.reaches(), [(PAGE, PAGE)]);
}

#[test]
fn a_back_end_that_dies_in_the_replay_is_followed_by_one_that_gets_everything() {
    for fault in [Fault::DieBefore(2), Fault::DieAfter(2)] {
        let (_port, dma, mut token) = world();
        for page in 0..5 {
            map(&dma, &mut token, page * PAGE, PAGE).unwrap();
        }
        let server = Server::new(Some(fault));
        assert!(matches!(attach(&dma, &mut token, &server), Err(ReplayError::Lost(_))));
        dma.detach();
        server.kill();
        let next = Server::new(None);
        attach(&dma, &mut token, &next).unwrap();
        assert_eq!(next.reaches().len(), 5, "{fault:?}");
    }
}

#[test]
fn an_unmap_waits_for_a_lost_server_that_lives_and_fails_at_its_deadline() {
    let (_port, dma, mut token) = world();
    map(&dma, &mut token, 0, PAGE).unwrap();
    map(&dma, &mut token, PAGE, PAGE).unwrap();
    let server = Server::new(None);
    attach(&dma, &mut token, &server).unwrap();
    server.lose();
    for detached in [false, true] {
        if detached {
            dma.detach();
        }
        let iova = u64::from(detached) * PAGE;
        let brief = Deadline::after(Duration::from_millis(20));
        let error = dma.unmapped(&mut token, &[(iova, PAGE)], brief).unwrap_err();
        assert_eq!(error.errno, Errno::ETIMEDOUT);
        assert!(!dma.settled(&mut token, at_once()));
    }
    assert_eq!(dma.usage().mappings, 0, "gone all the same");
    let kill = {
        let server = server.clone();
        thread::spawn(move || server.kill())
    };
    assert!(dma.settled(&mut token, soon()));
    kill.join().unwrap();
    let next = Server::new(None);
    attach(&dma, &mut token, &next).unwrap();
    assert_eq!(next.reaches(), []);
}

#[test]
fn a_mapping_whose_answer_was_lost_may_be_there_and_its_unmap_waits() {
    let (_port, dma, mut token) = world();
    let server = Server::new(Some(Fault::DieAfter(0)));
    attach(&dma, &mut token, &server).unwrap();
    map(&dma, &mut token, 0, PAGE).unwrap();
    assert_eq!(server.reaches(), [(0, PAGE)]);
    // Nobody has said yet that the connection is over.
    let brief = Deadline::after(Duration::from_millis(20));
    assert_eq!(dma.unmapped(&mut token, &[(0, PAGE)], brief).unwrap_err().errno, Errno::ETIMEDOUT);
    server.kill();
    assert!(dma.settled(&mut token, at_once()));
}

#[test]
fn an_unmap_goes_on_as_soon_as_the_lost_server_is_over() {
    let (_port, dma, mut token) = world();
    map(&dma, &mut token, 0, PAGE).unwrap();
    let server = Server::new(None);
    attach(&dma, &mut token, &server).unwrap();
    server.lose();
    dma.detach();
    thread::scope(|scope| {
        let unmapping = scope.spawn(|| {
            let mut token = ThreadToken::at_thread_entry();
            unmap(&dma, &mut token, &[(0, PAGE)])
        });
        server.kill();
        unmapping.join().unwrap().unwrap();
    });
}

#[test]
fn nobody_waits_for_a_server_of_which_nothing_can_be_known() {
    let (_port, dma, mut token) = world();
    let server = Server::unknown();
    attach(&dma, &mut token, &server).unwrap();
    for _ in 0..20 {
        for page in 0..4 {
            map(&dma, &mut token, page * PAGE, PAGE).unwrap();
        }
        let ranges: Vec<_> = (0..4).map(|page| (page * PAGE, PAGE)).collect();
        unmap(&dma, &mut token, &ranges).unwrap();
        server.lose();
        dma.detach();
    }
    assert!(dma.settled(&mut token, at_once()));
}

#[test]
fn a_back_end_that_does_not_let_memory_go_is_cut_off_and_its_fence_decides() {
    let (_port, dma, mut token) = world();
    map(&dma, &mut token, 0, PAGE).unwrap();
    let server = Server::new(Some(Fault::RefuseUnmaps));
    attach(&dma, &mut token, &server).unwrap();
    let brief = Deadline::after(Duration::from_millis(20));
    assert_eq!(dma.unmapped(&mut token, &[(0, PAGE)], brief).unwrap_err().errno, Errno::ETIMEDOUT);
    assert!(server.is_lost());

    map(&dma, &mut token, 0, PAGE).unwrap();
    server.kill();
    let next = Server::new(None);
    attach(&dma, &mut token, &next).unwrap();
    next.fail(Some(Fault::DieAfter(0)));
    next.kill();
    unmap(&dma, &mut token, &[(0, PAGE)]).unwrap();
}

#[test]
fn an_unmap_waits_for_the_one_mapping_that_is_just_being_sent_and_for_no_other() {
    let (_port, dma, mut token) = world();
    for page in 0..3 {
        map(&dma, &mut token, page * PAGE, PAGE).unwrap();
    }
    let server = Server::new(None);
    server.hold(true);
    thread::scope(|scope| {
        let replay = scope.spawn(|| attach(&dma, &mut ThreadToken::at_thread_entry(), &server));
        server.wait_until_held(&mut token);
        // Page 0 is on its way. The others have not been sent: they leave at once, and are never sent.
        unmap(&dma, &mut token, &[(PAGE, PAGE)]).unwrap();
        let unmapping = scope.spawn(|| unmap(&dma, &mut ThreadToken::at_thread_entry(), &[(0, PAGE)]));
        // It comes behind the replay, and is sent by who asks for it.
        server.hold(false);
        unmapping.join().unwrap().unwrap();
        replay.join().unwrap().unwrap();
    });
    assert_eq!(server.reaches(), [(2 * PAGE, PAGE)]);
}

#[test]
fn an_unmap_of_a_mapping_that_a_silent_back_end_has_not_answered_ends_the_connection() {
    let (_port, dma, mut token) = world();
    map(&dma, &mut token, 0, PAGE).unwrap();
    let server = Server::new(None);
    server.hold(true);
    thread::scope(|scope| {
        let replay = scope.spawn(|| attach(&dma, &mut ThreadToken::at_thread_entry(), &server));
        server.wait_until_held(&mut token);
        let brief = Deadline::after(Duration::from_millis(20));
        assert_eq!(dma.unmapped(&mut token, &[(0, PAGE)], brief).unwrap_err().errno, Errno::ETIMEDOUT);
        assert!(server.is_lost());
        assert!(replay.join().unwrap().is_err());
    });
    dma.detach();
    server.kill();
    let next = Server::new(None);
    attach(&dma, &mut token, &next).unwrap();
    assert_eq!(next.reaches(), [], "what was unmapped is not replayed");
}

#[test]
fn what_is_being_mapped_when_the_back_end_changes_is_mapped_once_at_the_next() {
    let (_port, dma, mut token) = world();
    let (first, second) = (Server::new(None), Server::new(None));
    attach(&dma, &mut token, &first).unwrap();
    first.hold(true);
    thread::scope(|scope| {
        let mapping = scope.spawn(|| map(&dma, &mut ThreadToken::at_thread_entry(), 0, PAGE));
        first.wait_until_held(&mut token);
        attach(&dma, &mut token, &second).unwrap();
        assert_eq!(second.reaches(), [(0, PAGE)]);
        // The first even refuses it, too late for anybody to care.
        first.fail(Some(Fault::RefuseMaps));
        first.hold(false);
        mapping.join().unwrap().unwrap();
    });
    assert_eq!((second.reaches(), dma.usage().mappings), (vec![(0, PAGE)], 1));
}

#[test]
fn a_guest_may_reboot_with_and_without_a_back_end() {
    let (_port, dma, mut token) = world();
    let ram = file(1 << 20);
    let server = Server::new(None);
    attach(&dma, &mut token, &server).unwrap();
    let areas = [(0, 0xa_0000), (0xc_0000, 0x1_0000), (0xd_0000, 0x2_0000), (0x10_0000, 0x10_0000)];
    for round in 0..44 {
        if round == 11 {
            server.kill();
            dma.detach();
        }
        for (iova, size) in areas {
            map_file(&dma, &mut token, iova, size, Some(ram.try_clone().unwrap())).unwrap();
        }
        assert_eq!(dma.usage(), Usage { mappings: 4, files: 1 });
        unmap(&dma, &mut token, &areas).unwrap();
        assert_eq!(dma.usage(), Usage::default());
    }
    assert_eq!(server.unmaps(), 44);
}

#[test]
fn nothing_of_the_consumers_comes_where_a_range_is_reserved() {
    let (_port, dma, mut token) = world();
    dma.reserve(0x10_0000, 4 * PAGE).unwrap();
    for (iova, size, reserved) in
        [(0, 0x10_0000, false), (0, 0x10_1000, true), (0x10_3000, PAGE, true), (0x10_4000, PAGE, false)]
    {
        assert_eq!(dma.reserved(iova, size), reserved, "{iova:#x}");
        assert_eq!(map(&dma, &mut token, iova, size).is_err(), reserved, "{iova:#x}");
    }
    assert_eq!(dma.reserve(0xf_f000, PAGE).unwrap_err().errno, Errno::EEXIST);
    for (iova, size) in [(0, 0), (u64::MAX, 2)] {
        assert_eq!(dma.reserve(iova, size).unwrap_err().errno, Errno::EINVAL);
    }
    let server = Server::new(None);
    attach(&dma, &mut token, &server).unwrap();
    assert_eq!(
        server.reaches(),
        [(0, 0x10_0000), (0x10_4000, PAGE)],
        "what is there is somebody else's to map"
    );
}

#[test]
fn a_back_end_without_a_function_behind_it_reaches_no_memory() {
    let (port, dma, mut token) = world();
    assert_eq!(dma.dma_read(&mut token, 0, &mut [0; 4]), Err(rustix::io::Errno::NODEV), "it masters no bus");
    drop(port);
    assert_eq!(dma.dma_write(&mut token, 0, &[0; 4]), Err(rustix::io::Errno::NODEV));
}

/// A consumer that maps and unmaps while back ends are lost and others attached. The servers yield at random between any two steps.
mod meetings {
    use super::*;

    /// No server that could still use it reaches what was unmapped.
    fn assert_unreached(servers: &[Arc<Server>], iova: u64) {
        for (nth, server) in servers.iter().enumerate() {
            assert!(server.reaches().iter().all(|area| area.0 != iova), "server {nth} reaches {iova:#x}");
        }
    }

    /// Maps two pages, takes one away and maps another; page 0 was there before.
    fn consumer(dma: &Dma, token: &mut ThreadToken, servers: &[Arc<Server>]) {
        map(dma, token, PAGE, PAGE).unwrap();
        unmap(dma, token, &[(0, PAGE)]).unwrap();
        assert_unreached(servers, 0);
        map(dma, token, 2 * PAGE, PAGE).unwrap();
        unmap(dma, token, &[(PAGE, PAGE)]).unwrap();
        assert_unreached(servers, PAGE);
        map(dma, token, 0, 3 * PAGE).unwrap_err();
        map(dma, token, 0, PAGE).unwrap();
    }

    /// Attaches one server after the other, as the supervisor does: the last one is over before.
    fn supervisor(dma: &Dma, servers: &[Arc<Server>]) {
        let mut token = ThreadToken::at_thread_entry();
        for server in servers {
            if attach(dma, &mut token, server).is_err() || !Arc::ptr_eq(server, servers.last().unwrap()) {
                server.lose();
                thread::yield_now();
                dma.detach();
                thread::yield_now();
                server.kill();
            }
        }
    }

    fn meet(faults: [Option<Fault>; 2]) {
        let port = port();
        let dma = Dma::follow(&port).unwrap();
        let mut token = ThreadToken::at_thread_entry();
        map(&dma, &mut token, 0, PAGE).unwrap();
        let servers: Arc<[_]> = Arc::new([Server::new(faults[0]), Server::new(faults[1]), Server::new(None)]);
        thread::scope(|scope| {
            scope.spawn(|| supervisor(&dma, &servers));
            consumer(&dma, &mut token, &servers);
        });
        assert_eq!(servers[2].reaches(), [(0, PAGE), (2 * PAGE, PAGE)]);
        assert!(!servers[2].is_lost());
        assert_eq!(dma.usage().mappings, 2);
    }

    #[test]
    fn whatever_the_order_the_last_back_end_has_what_is_mapped_and_none_what_was_unmapped() {
        for _ in 0..300 {
            meet([None, None]);
            for after in 0..3 {
                meet([Some(Fault::DieAfter(after)), Some(Fault::DieBefore(after))]);
            }
        }
    }
}

mod any_history {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Map(u64, u64),
        Unmap(u64),
        UnmapAll,
        Attach(Option<Fault>),
        /// The connection ends, with its process or not.
        Lose {
            kill: bool,
            noticed: bool,
        },
        Kill,
    }

    fn fault() -> impl Strategy<Value = Option<Fault>> {
        prop_oneof![
            4 => Just(None),
            2 => (0_usize..6).prop_map(|after| Some(Fault::DieBefore(after))),
            2 => (0_usize..6).prop_map(|after| Some(Fault::DieAfter(after))),
            1 => Just(Some(Fault::RefuseMaps)),
            1 => Just(Some(Fault::RefuseUnmaps)),
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0_u64..8, 1_u64..4).prop_map(|(page, pages)| Step::Map(page * PAGE, pages * PAGE)),
            3 => (0_u64..8).prop_map(|page| Step::Unmap(page * PAGE)),
            1 => Just(Step::UnmapAll),
            3 => fault().prop_map(Step::Attach),
            2 => any::<(bool, bool)>().prop_map(|(kill, noticed)| Step::Lose { kill, noticed }),
            1 => Just(Step::Kill),
        ]
    }

    /// What should be there.
    #[derive(Default)]
    struct Model {
        mapped: BTreeMap<u64, u64>,
        servers: Vec<Arc<Server>>,
    }

    impl Model {
        fn overlaps(&self, iova: u64, size: u64) -> bool {
            self.mapped.iter().any(|(start, bytes)| *start < iova + size && start + bytes > iova)
        }

        fn unmap(&mut self, dma: &Dma, token: &mut ThreadToken, ranges: &[(u64, u64)]) {
            if ranges.is_empty() {
                return;
            }
            let done = dma.unmapped(token, ranges, Deadline::after(Duration::from_millis(2)));
            for (iova, _) in ranges {
                self.mapped.remove(iova);
            }
            let reached = self
                .servers
                .iter()
                .flat_map(|server| server.reaches())
                .any(|area| ranges.contains(&area) && !self.mapped.contains_key(&area.0));
            match done {
                Ok(()) => assert!(!reached, "it is in use after its unmap"),
                Err(error) => assert_eq!(error.errno, Errno::ETIMEDOUT),
            }
        }

        fn run(&mut self, dma: &Dma, token: &mut ThreadToken, step: Step) {
            match step {
                Step::Map(iova, size) if !self.overlaps(iova, size) => {
                    if map(dma, token, iova, size).is_ok() {
                        self.mapped.insert(iova, size);
                    }
                }
                Step::Map(..) => {}
                Step::Unmap(iova) => {
                    let range = self.mapped.get_key_value(&iova).map(|(iova, size)| (*iova, *size));
                    self.unmap(dma, token, range.as_slice());
                }
                Step::UnmapAll => {
                    let all: Vec<_> = self.mapped.iter().map(|(iova, size)| (*iova, *size)).collect();
                    self.unmap(dma, token, &all);
                }
                Step::Attach(fault) => {
                    // As the supervisor does: the last one is over before.
                    self.servers.iter().for_each(|server| server.kill());
                    let server = Server::new(fault);
                    self.servers.push(server.clone());
                    if attach(dma, token, &server).is_err() {
                        dma.detach();
                    }
                }
                Step::Lose { kill, noticed } => {
                    let Some(last) = self.servers.last() else { return };
                    if kill {
                        last.kill()
                    } else {
                        last.lose()
                    }
                    if noticed {
                        dma.detach();
                    }
                }
                Step::Kill => self.servers.iter().for_each(|server| server.kill()),
            }
            self.check(dma);
        }

        fn check(&self, dma: &Dma) {
            assert_eq!(dma.usage().mappings, self.mapped.len());
            let all: Vec<_> = self.mapped.iter().map(|(iova, size)| (*iova, *size)).collect();
            if let Some(last) = self.servers.last().filter(|last| !last.is_lost()) {
                assert_eq!(last.reaches(), all);
            }
        }
    }

    proptest! {
        #[test]
        fn a_connected_back_end_has_what_the_consumer_mapped_and_nothing_else(
            steps in proptest::collection::vec(step(), 1..60)
        ) {
            let (_port, dma, mut token) = world();
            let mut model = Model::default();
            for step in steps {
                model.run(&dma, &mut token, step);
            }
            model.servers.iter().for_each(|server| server.kill());
            let last = Server::new(None);
            attach(&dma, &mut token, &last).unwrap();
            model.servers.push(last);
            model.check(&dma);
        }
    }
}
