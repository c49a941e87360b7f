//! Functions of the daemon that take blocks only, each driven by a client of its own through the I/O region.
#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    reason = "a test ends where something unexpected happens"
)]

mod lab;

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use gate::ThreadToken;
use lab::{Daemon, Lab, code, json, run, stderr, until};
use models::ism::{COMMAND, MAX_DMB_BYTES, STATISTICS, window_offset};
use models::ism::{Command, Outcome, Refused, Register, Statistic};
use rustix::io::Errno;
use serde_json::Value;
use vfio_user::client::{Client, ClientError, ClientOptions, SharedMemory};
use zpci::region::{IoRequest, layout};

/// `one` and `two` are of one network, `stranger` has the GID of `one` in another.
const LAB: &str = r#"
[[slot]]
name = "one"
address = "0000:01:00.0"
device = { model = "ism", network = "lab", gid = 1 }

[[slot]]
name = "two"
address = "0000:02:00.0"
device = { model = "ism", network = "lab", gid = 2 }

[[slot]]
name = "stranger"
address = "0000:03:00.0"
device = { model = "ism", network = "elsewhere", gid = 1 }
"#;

/// The I/O region: the function has none of its own.
const REGION: u32 = 9;
const CONFIG: u32 = 7;
/// BARs, and address spaces of requests.
const COMMANDS: u8 = 0;
const WINDOW: u8 = 2;
/// Where the memory is mapped, and what is where in it.
const BASE: u64 = 0x10_0000;
const BUFFER: u64 = 0x1000;
const DATA: u64 = 0x8000;
const AREA: u64 = 0x9000;

/// A program that has one function.
struct Party {
    client: Client,
    memory: SharedMemory,
    signalled: OwnedFd,
}

impl Party {
    fn new(lab: &Lab, token: &mut ThreadToken, slot: &str) -> Party {
        let mut client = Client::connect(token, lab.run_dir().join(slot), ClientOptions::default()).unwrap();
        let memory = SharedMemory::new(0x1_0000).unwrap();
        client.dma_map(token, BASE, &memory).unwrap();
        let signalled = rustix::event::eventfd(0, rustix::event::EventfdFlags::NONBLOCK).unwrap();
        client.set_irq_eventfds(token, 1, 0, &[signalled.as_fd()]).unwrap();
        client.region_write(token, CONFIG, 4, &6_u16.to_le_bytes()).unwrap();
        Party { client, memory, signalled }
    }

    fn request(&mut self, token: &mut ThreadToken, it: IoRequest) -> Result<(), ClientError> {
        self.client.region_write(token, REGION, layout::REQUEST_START, &it.encode())
    }

    fn store(&mut self, token: &mut ThreadToken, bar: u8, at: u64, data: &[u8]) -> Result<(), ClientError> {
        self.memory.write(DATA as usize, data).unwrap();
        self.request(token, request(IoRequest::BLOCKW, bar, at, data.len()))
    }

    fn load(&mut self, token: &mut ThreadToken, at: u64) -> u64 {
        self.request(token, request(IoRequest::READ, COMMANDS, at, 8)).unwrap();
        u64::from_le_bytes(self.read(DATA, 8).try_into().unwrap())
    }

    fn count(&mut self, token: &mut ThreadToken, statistic: Statistic) -> u64 {
        self.load(token, STATISTICS + 8 * statistic as u64)
    }

    /// Carries a command out; what it gives back.
    fn ask(&mut self, token: &mut ThreadToken, command: Command) -> Result<u64, Outcome> {
        self.store(token, COMMANDS, COMMAND, &command.encode(0x77)).unwrap();
        let answer = self.load(token, Register::Answer as u64);
        match Outcome::from_code((answer >> 32) as u16).unwrap() {
            Outcome::Done => Ok(self.load(token, Register::AnswerValue as u64)),
            outcome => Err(outcome),
        }
    }

    /// Registers one page for `sender`, and a signal area. The token.
    fn receive_from(&mut self, token: &mut ThreadToken, sender: u64) -> u64 {
        self.ask(token, Command::SetSignalArea { address: BASE + AREA }).unwrap();
        self.ask(token, Command::RegisterDmb { address: BASE + BUFFER, length: 0x1000, sender }).unwrap()
    }

    fn read(&self, at: u64, length: usize) -> Vec<u8> {
        let mut data = vec![0; length];
        self.memory.read(at as usize, &mut data).unwrap();
        data
    }

    fn was_signalled(&self) -> bool {
        rustix::io::read(&self.signalled, &mut [0; 8]).is_ok()
    }
}

fn request(flags: u64, space: u8, offset: u64, length: usize) -> IoRequest {
    IoRequest { flags, address: BASE + DATA, offset, length: length as u16, space }
}

fn errno(result: Result<(), ClientError>) -> Errno {
    match result {
        Err(ClientError::Refused { errno, .. }) => errno,
        other => panic!("{other:?}"),
    }
}

fn serve() -> (Lab, Daemon) {
    let lab = Lab::new(LAB);
    let daemon = lab.serve();
    (lab, daemon)
}

fn told(lab: &Lab, words: &[&str]) -> Value {
    json(&lab.run_dir(), &[words, &["--json"]].concat())
}

#[test]
fn a_bar_says_that_it_takes_no_plain_access_and_takes_none_vf_13() {
    let (lab, _daemon) = serve();
    let mut token = ThreadToken::at_thread_entry();
    let mut one = Party::new(&lab, &mut token, "one");
    for (bar, size) in [(0, 4096), (2, 1 << 20)] {
        let info = one.client.region_info(&mut token, bar).unwrap().info;
        assert_eq!((info.flags, info.size), (0, size), "BAR {bar}");
        for width in [1, 2, 4, 8, 32] {
            assert_eq!(errno(one.client.region_read(&mut token, bar, 0, &mut vec![0; width])), Errno::IO);
            assert_eq!(errno(one.client.region_write(&mut token, bar, COMMAND, &vec![0; width])), Errno::IO);
        }
    }
    let region = one.client.region_info(&mut token, REGION).unwrap().info;
    assert_eq!((region.flags & 7, region.size), (3, layout::SIZE));
    let magic = one.load(&mut token, Register::Identity as u64) as u32;
    assert_eq!(magic, models::ism::MAGIC);
    assert_eq!(one.load(&mut token, Register::Gid as u64), 1);
    assert_eq!(one.load(&mut token, Register::Answer as u64), 0, "none of it was a command");
}

#[test]
fn functions_of_one_network_move_data_and_signal_and_others_do_not_find_them() {
    let (lab, _daemon) = serve();
    let mut token = ThreadToken::at_thread_entry();
    let [mut one, mut two, mut stranger] =
        ["one", "two", "stranger"].map(|slot| Party::new(&lab, &mut token, slot));
    let buffer = two.receive_from(&mut token, 1);
    let channel = one.ask(&mut token, Command::OpenChannel { token: buffer }).unwrap();
    assert_eq!(channel, 0x1000 << 32);
    let block: Vec<u8> = (0..128).collect();
    one.store(&mut token, WINDOW, window_offset(0, 0x80, false), &block).unwrap();
    assert_eq!(two.read(BUFFER + 0x80, 128), block);
    assert!(!two.was_signalled());
    one.store(&mut token, WINDOW, window_offset(0, 0xf80, true), &block).unwrap();
    assert_eq!(two.read(BUFFER + 0xf80, 128), block);
    assert_eq!(two.read(AREA, 4), [1, 0, 0, 0]);
    until(|| two.was_signalled());
    assert_eq!(one.count(&mut token, Statistic::BytesSent), 256);
    assert_eq!(two.count(&mut token, Statistic::BytesReceived), 256);
    // The same GID in another network is somebody else.
    assert_eq!(stranger.ask(&mut token, Command::FindPeer { gid: 2 }), Err(Outcome::NoPeer));
    assert!(stranger.ask(&mut token, Command::OpenChannel { token: buffer }).is_err());
    assert!(two.ask(&mut token, Command::FindPeer { gid: 1 }).is_ok());
}

#[test]
fn hostile_requests_are_refused_and_move_nothing() {
    let (lab, daemon) = serve();
    let mut token = ThreadToken::at_thread_entry();
    let [mut one, mut two] = ["one", "two"].map(|slot| Party::new(&lab, &mut token, slot));
    let buffer = two.receive_from(&mut token, 1);
    one.ask(&mut token, Command::OpenChannel { token: buffer }).unwrap();
    one.memory.write(DATA as usize, &[0x5a; 256]).unwrap();
    let good = request(IoRequest::BLOCKW, WINDOW, 0, 128);
    let bad = [
        IoRequest { flags: 0, ..good },
        IoRequest { flags: 3, ..good },
        IoRequest { length: 0, ..good },
        IoRequest { length: 136, ..good },
        IoRequest { length: 12, ..good },
        IoRequest { space: 1, ..good },
        IoRequest { space: 3, ..good },
        IoRequest { space: 6, ..good },
        IoRequest { space: 15, ..good },
        IoRequest { space: 255, ..good },
        IoRequest { offset: u64::MAX, ..good },
        IoRequest { offset: u64::MAX - 7, ..good },
        IoRequest { offset: 2 << 20, ..good },
        IoRequest { offset: 0xfc0, ..good },
        IoRequest { offset: 4, ..good },
        IoRequest { offset: window_offset(0, 0x1000, false), ..good },
        IoRequest { offset: window_offset(0, MAX_DMB_BYTES - 128, true), ..good },
        IoRequest { offset: window_offset(1, 0, false), ..good },
        IoRequest { offset: window_offset(15, 0, true), ..good },
        IoRequest { address: 0, ..good },
        IoRequest { address: u64::MAX - 7, ..good },
        IoRequest { address: BASE + DATA + 4, ..good },
        IoRequest { address: BASE + 0x1_0000, ..good },
        IoRequest { address: BASE + 0xffc0, ..good },
        IoRequest { flags: IoRequest::READ, length: 16, ..good },
        IoRequest { flags: IoRequest::READ, length: 3, space: COMMANDS, ..good },
    ];
    for it in bad {
        assert_eq!(errno(one.request(&mut token, it)), Errno::IO, "{it:?}");
    }
    for (at, length) in [(0, 32), (8, 8), (15, 33)] {
        let write = one.client.region_write(&mut token, REGION, at, &vec![0xff; length]);
        assert_eq!(errno(write), Errno::FAULT, "{length} bytes at {at}");
    }
    assert_eq!(errno(one.client.region_write(&mut token, REGION, 48, &[0; 8])), Errno::INVAL);
    for token_of_nothing in [0, 1, u64::MAX, buffer ^ 1, buffer ^ 1 << 40] {
        assert!(one.ask(&mut token, Command::OpenChannel { token: token_of_nothing }).is_err());
    }
    assert_eq!(one.ask(&mut token, Command::UnregisterDmb { token: buffer }), Err(Outcome::UnknownToken));
    assert_eq!(two.read(BUFFER, 0x1000), [0; 0x1000]);
    assert!(!two.was_signalled());
    // A receiver that forbids its function to write is an error of the mover's, not of the daemon's.
    two.client.region_write(&mut token, CONFIG, 4, &2_u16.to_le_bytes()).unwrap();
    assert_eq!(errno(one.request(&mut token, good)), Errno::IO);
    assert_eq!(one.load(&mut token, Register::LastRefused as u64) & 0xffff, Refused::PeerMemory as u64);
    two.client.region_write(&mut token, CONFIG, 4, &6_u16.to_le_bytes()).unwrap();
    two.client.dma_unmap(&mut token, BASE, 0x1_0000).unwrap();
    assert_eq!(errno(one.request(&mut token, good)), Errno::IO);
    drop((one, two));
    assert_eq!(daemon.end(rustix::process::Signal::TERM).0, Some(0));
}

#[test]
fn a_peer_that_is_unplugged_while_the_other_moves_costs_an_error_and_comes_back_with_its_gid_zio_i4() {
    let (lab, _daemon) = serve();
    let mut token = ThreadToken::at_thread_entry();
    let [mut one, mut two] = ["one", "two"].map(|slot| Party::new(&lab, &mut token, slot));
    let buffer = two.receive_from(&mut token, 1);
    one.ask(&mut token, Command::OpenChannel { token: buffer }).unwrap();
    let (moved, unplugged) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut token = ThreadToken::at_thread_entry();
            // Ends with the peer, not with the moves: whoever is left goes on.
            while one.store(&mut token, WINDOW, window_offset(0, 0, true), &[0x11; 128]).is_ok() {
                moved.fetch_add(1, Ordering::Relaxed);
            }
            until(|| unplugged.load(Ordering::Acquire));
            // The first was refused by whatever was taken from the peer by then: its bus mastering, its gate, its memory.
            let refused = one.store(&mut token, WINDOW, window_offset(0, 0, true), &[0x11; 128]);
            assert_eq!(errno(refused), Errno::IO);
            let why = one.load(&mut token, Register::LastRefused as u64);
            assert_eq!(why, Refused::NoPeer as u64);
        });
        until(|| moved.load(Ordering::Relaxed) > 100);
        assert_eq!(told(&lab, &["unplug", "two", "--force"])["finished"], "done");
        unplugged.store(true, Ordering::Release);
    });
    assert_eq!(errno(two.store(&mut token, COMMANDS, COMMAND, &[0; 32])), Errno::NODEV);
    assert_eq!(two.read(BUFFER, 128), [0x11; 128]);
    let refused = one.store(&mut token, WINDOW, window_offset(0, 0, true), &[0x22; 128]);
    assert_eq!(errno(refused), Errno::IO);
    assert_eq!(one.ask(&mut token, Command::FindPeer { gid: 2 }), Err(Outcome::NoPeer));
    assert_eq!(told(&lab, &["plug", "two"])["finished"], "done");
    let mut again = Party::new(&lab, &mut token, "two");
    assert_eq!(one.ask(&mut token, Command::FindPeer { gid: 2 }), Ok(0));
    let next = again.receive_from(&mut token, 1);
    assert_ne!(next, buffer);
    // The channel to the card that went leads nowhere, also now that another one has its GID.
    let refused = one.store(&mut token, WINDOW, window_offset(0, 0, true), &[0x33; 128]);
    assert_eq!(errno(refused), Errno::IO);
    assert_eq!(one.load(&mut token, Register::LastRefused as u64), Refused::UnknownToken as u64);
    assert_eq!(one.ask(&mut token, Command::OpenChannel { token: next }), Ok(1 | 0x1000 << 32));
    one.store(&mut token, WINDOW, window_offset(1, 0, true), &[0x44; 128]).unwrap();
    assert_eq!(again.read(BUFFER, 128), [0x44; 128]);
    assert_eq!(two.read(BUFFER, 128), [0x11; 128], "what was left behind is not written any more");
}

#[test]
fn a_device_that_failed_comes_back_with_what_was_registered_and_its_peer_goes_on() {
    let (lab, _daemon) = serve();
    let mut token = ThreadToken::at_thread_entry();
    let [mut one, mut two] = ["one", "two"].map(|slot| Party::new(&lab, &mut token, slot));
    let buffer = two.receive_from(&mut token, 1);
    let channel = one.ask(&mut token, Command::OpenChannel { token: buffer }).unwrap() as u16;
    told(&lab, &["freeze", "two"]);
    assert_eq!(errno(one.store(&mut token, WINDOW, 0, &[1; 8])), Errno::IO);
    assert_eq!(one.load(&mut token, Register::LastRefused as u64), Refused::PeerFrozen as u64);
    assert_eq!(
        errno(two.store(&mut token, COMMANDS, COMMAND, &Command::ClearSignalArea.encode(1))),
        Errno::IO
    );
    assert_eq!(told(&lab, &["recover", "two"])["outcome"], "recovered");
    one.store(&mut token, WINDOW, window_offset(channel, 0, false), &[2; 8]).unwrap();
    assert_eq!(two.read(BUFFER, 8), [2; 8]);
}

#[test]
fn a_recovery_of_s390_forgets_what_was_registered_and_the_client_begins_anew_zp_10() {
    let (lab, _daemon) = serve();
    let mut token = ThreadToken::at_thread_entry();
    let [mut one, mut two] = ["one", "two"].map(|slot| Party::new(&lab, &mut token, slot));
    let buffer = two.receive_from(&mut token, 1);
    one.ask(&mut token, Command::OpenChannel { token: buffer }).unwrap();
    let fid = told(&lab, &["zpci"]).as_array().unwrap().iter().find(|it| it["slot"] == "two").unwrap()["fid"]
        .clone();
    assert_eq!(told(&lab, &["zpci", "recover", fid.as_str().unwrap()])["outcome"], "recovered");
    assert_eq!(errno(one.store(&mut token, WINDOW, 0, &[1; 8])), Errno::IO);
    assert_eq!(one.load(&mut token, Register::LastRefused as u64), Refused::UnknownToken as u64);
    let next = two.receive_from(&mut token, 1);
    let channel = one.ask(&mut token, Command::OpenChannel { token: next }).unwrap() as u16;
    one.store(&mut token, WINDOW, window_offset(channel, 0, false), &[2; 8]).unwrap();
    assert_eq!(two.read(BUFFER, 8), [2; 8]);
}

#[test]
fn a_gid_that_is_taken_is_refused_with_what_to_do() {
    let lab = Lab::new(&LAB.replace("\"elsewhere\"", "\"lab\""));
    let output = run(&lab.run_dir(), &["serve", &lab.config()]);
    assert_eq!(code(&output), 2);
    let said = stderr(&output);
    assert!(
        said.contains("this gid is already taken by the slot at line 5") && said.contains("another gid"),
        "{said}"
    );
    // Nor does a card that comes later take it.
    let lab = Lab::new(&format!("{LAB}\n[[slot]]\nname = \"bay\"\naddress = \"0000:04:00.0\"\n"));
    let _daemon = lab.serve();
    let plug = ["plug", "bay", "--device", "{ model = \"ism\", network = \"lab\", gid = 1 }"];
    let output = run(&lab.run_dir(), &plug);
    assert_eq!(code(&output), 1);
    let said = stderr(&output);
    assert!(said.contains("GID 0x1") && said.contains("give each its own"), "{said}");
}
