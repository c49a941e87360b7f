//! Memory that another process has mapped, from the outside: what it sees, what reaches the device, and that nothing of it
//! is left.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

use gate::{AccessKind, Deadline, Gate, Reason, ThreadToken};
use mapping::{
    Area, Holds, MapError, MapRequest, MappingError, MappingLimits, Mappings, Memory, OnDisabled, Reach,
    Shared, Trap,
};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

const DATA: Area = Area { offset: 0, size: 16 << 12, holds: Holds::Data };
const BELLS: Area = Area { offset: 16 << 12, size: 1 << 12, holds: Holds::Doorbells };
const SIZE: u64 = 17 << 12;

struct Always;

impl Reach for Always {
    fn is_reachable(&self, _region: u32) -> bool {
        true
    }
}

/// A function whose device is its memory.
struct World {
    gate: Gate,
    mappings: Mappings,
    memory: Arc<Memory>,
    token: ThreadToken,
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(10))
}

impl World {
    fn new() -> World {
        let gate = Gate::new("test");
        let mappings = Mappings::new(&gate, Arc::new(Always), MappingLimits::default());
        let memory = Memory::new("test", SIZE);
        World { gate, mappings, memory, token: ThreadToken::at_thread_entry() }
    }

    fn share(&mut self) -> (Shared, Client) {
        let shared = loop {
            match self.mappings.share("client".into(), 0, &self.memory, &[DATA, BELLS]) {
                Ok(shared) => break shared,
                Err(MapError::System(error)) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                    self.settle()
                }
                Err(error) => panic!("{error}"),
            }
        };
        let client = Client(shared.file.try_clone().unwrap().into());
        (shared, client)
    }

    fn settle(&mut self) {
        self.mappings.settle(&mut self.token, soon()).unwrap();
    }

    fn read(&self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.memory.read(offset, &mut data);
        u32::from_ne_bytes(data)
    }

    fn write(&self, offset: u64, value: u32) {
        self.memory.write(offset, &value.to_ne_bytes());
    }
}

struct Client(File);

impl Client {
    fn read(&self, offset: u64) -> u32 {
        let mut data = [0; 4];
        self.0.read_exact_at(&mut data, offset).unwrap();
        u32::from_ne_bytes(data)
    }

    fn write(&self, offset: u64, value: u32) {
        self.0.write_all_at(&value.to_ne_bytes(), offset).unwrap();
    }
}

fn threads() -> usize {
    let names = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = names.map(|task| std::fs::read_to_string(task.path().join("comm")).unwrap_or_default());
    names.filter(|name| name.trim_end() == "mapping-keeper").count()
}

/// Files of memories.
fn files() -> usize {
    let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    let links = links.filter_map(|link| std::fs::read_link(link.path()).ok());
    links.filter(|file| file.to_string_lossy().starts_with("/memfd:test")).count()
}

#[track_caller]
fn wait(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for: {what}");
        std::thread::yield_now();
    }
}

/// One test, because threads and files are counted for the whole process.
#[test]
fn a_client_comes_sees_the_function_freeze_and_thaw_and_leaves_nothing() {
    beside_a_mapping_in_this_process();
    for removed in [false, true] {
        let mut world = World::new();
        let (shared, client) = world.share();
        assert_eq!(files(), 4, "the memory's, ours of what is lent, and one for the client in two places");
        wait("the keeper, which names itself", || threads() == 1);
        client.write(8, 1);
        assert_eq!(world.read(8), 1);

        world.gate.freeze();
        world.settle();
        assert_eq!((client.read(8), client.read(DATA.size - 4), world.read(8)), (u32::MAX, u32::MAX, 1));
        client.write(BELLS.offset, 2);
        world.write(8, 3);
        assert_eq!(world.read(BELLS.offset), 2, "a doorbell is never lost");
        world.gate.thaw();
        world.settle();
        assert_eq!((client.read(8), client.read(DATA.size - 4)), (3, 0));

        // Who is about to thaw need not wait for the keeper.
        world.gate.freeze();
        world.settle();
        let held = world.gate.close(&mut world.token, Reason::Reset, soon()).unwrap();
        world.mappings.reveal(&held);
        assert_eq!(client.read(8), 3);
        assert!(held.thaw());
        world.settle();
        assert_eq!(client.read(8), 3);

        if removed {
            let _retired = world.gate.retire(&mut world.token, soon());
            client.write(BELLS.offset + 8, 9);
            assert_eq!((world.read(8), world.read(BELLS.offset + 8)), (0, 0), "cut off before it returns");
            world.settle();
            assert_eq!((client.read(8), client.read(BELLS.offset)), (u32::MAX, u32::MAX));
        }
        drop(shared);
        world.settle();
        wait("the keeper's end", || threads() == 0);
        if !removed {
            assert_eq!((client.read(8), client.read(BELLS.offset), world.read(8)), (u32::MAX, u32::MAX, 3));
            client.write(8, 66);
            let (_shared, next) = world.share();
            assert_eq!((next.read(8), world.read(8)), (3, 3), "nothing of the last client's");
        }
        assert!(world.mappings.report().iter().all(|report| report.shared));
        drop((client, world));
        wait("the end of all that was open", || files() == 0 && threads() == 0);
    }
    the_next_client_after_many();
    wait("the end of all that was open", || files() == 0 && threads() == 0);
}

/// A consumer in this process sees what the device has, whatever the file is that it has at the moment.
fn beside_a_mapping_in_this_process() {
    let mut world = World::new();
    let map = |area: Area| MapRequest {
        owner: "driver".into(),
        region: 0,
        memory: Arc::clone(&world.memory),
        offset: area.offset,
        size: area.size,
        on_disabled: OnDisabled::Fail,
        trap: Arc::new(NoTrap),
    };
    let (data, bells) = (world.mappings.map(map(DATA)).unwrap(), world.mappings.map(map(BELLS)).unwrap());
    let (mut shared, mut client) = world.share();
    for round in 1..=20_u32 {
        data.write(&mut world.token, 8, round).unwrap();
        bells.write(&mut world.token, 0, round).unwrap();
        assert_eq!((world.read(8), world.read(BELLS.offset), client.read(8)), (round, round, round));
        world.gate.freeze();
        if round % 2 == 0 {
            world.settle();
        }
        world.gate.thaw();
        // Whether or not the keeper has been here.
        let token = &mut world.token;
        assert_eq!(thawed(|| data.read::<u32>(token, 8)), Ok(round));
        assert_eq!(thawed(|| data.write(token, 12, round)), Ok(()));
        assert_eq!(thawed(|| bells.write(token, 4, round)), Ok(()));
        assert_eq!((world.read(12), world.read(BELLS.offset + 4)), (round, round));
        world.settle();
        assert_eq!((client.read(12), client.read(BELLS.offset + 4)), (round, round));
        if round % 5 == 0 {
            drop(shared);
            (shared, client) = world.share();
            assert_eq!(thawed(|| data.read::<u32>(&mut world.token, 12)), Ok(round));
        }
    }
    drop((shared, data, bells));
    world.settle();
    wait("the keeper's end", || threads() == 0);
    drop(client);
}

/// An access after a thaw. While the keeper has the gate, what was frozen may be covered still.
fn thawed<T>(mut access: impl FnMut() -> Result<T, MappingError>) -> Result<T, MappingError> {
    let deadline = soon();
    loop {
        match access() {
            Err(MappingError::Frozen) if deadline.remaining().is_some() => std::thread::yield_now(),
            done => return done,
        }
    }
}

/// A pass is never held up by clients that come and go, and none meets the memory of another.
fn the_next_client_after_many() {
    let mut world = World::new();
    let mut old: Vec<Client> = Vec::new();
    for round in 1..=10_u32 {
        let (shared, client) = world.share();
        assert_eq!(client.read(0), round - 1);
        old.iter().for_each(|client| client.write(0, 0xdead));
        let handle = world.gate.handle();
        let pass = handle.enter(&mut world.token, AccessKind::Bar, soon()).unwrap();
        world.memory.write(0, &round.to_ne_bytes());
        drop(pass);
        assert_eq!((client.read(0), world.read(0)), (round, round));
        drop(shared);
        old.push(client);
    }
    world.settle();
    wait("the keeper's end", || threads() == 0);
}

/// Page faults in user space are there: the tests of the windows need them too.
struct NoTrap;

impl Trap for NoTrap {
    fn read(
        &self,
        _token: &mut ThreadToken,
        _region: u32,
        _offset: u64,
        data: &mut [u8],
        _until: Deadline,
    ) -> Result<(), MappingError> {
        data.fill(0xff);
        Ok(())
    }

    fn write(
        &self,
        _token: &mut ThreadToken,
        _region: u32,
        _offset: u64,
        _data: &[u8],
        _until: Deadline,
    ) -> Result<(), MappingError> {
        Ok(())
    }
}
