//! The driver against this crate's own controller, over a real socket.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use assign::Assignment;
use gate::ThreadToken;
use nvme_spec::{NvmOpcode, Status, SubmissionEntry};
use vfio_user::client::{Client, ClientOptions};
use vfio_user::server::{Server, ServerOptions, Stop};

use super::{Completed, DoorbellChoice, Driver, DriverError, Io, Options, pattern};
use crate::nvme::{Backing, BlockSize, Config, DoorbellStyle, InterruptStyle, build};

/// A controller of 8 MiB on a socket.
pub(super) struct Lab {
    pub(super) assignment: Arc<Assignment>,
    stop: Stop,
    server: Option<JoinHandle<()>>,
    directory: tempfile::TempDir,
}

impl Lab {
    pub(super) fn new(config: &Config) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let assignment = build("test", config, Backing::memory(8 << 20).unwrap(), Arc::new(())).unwrap();
        let server =
            Server::bind(directory.path(), Arc::clone(&assignment), ServerOptions::default()).unwrap();
        let stop = Stop::new().unwrap();
        let switch = stop.clone();
        let thread = std::thread::spawn(move || {
            server.run(&mut ThreadToken::at_thread_entry(), &switch).unwrap();
        });
        Self { assignment, stop, server: Some(thread), directory }
    }

    pub(super) fn start(&self, token: &mut ThreadToken, options: &Options) -> Result<Driver, DriverError> {
        let client = Client::connect(token, self.directory.path(), ClientOptions::default())?;
        Driver::start(token, client, options)
    }

    fn end(&mut self) {
        self.stop.stop();
        if let Some(server) = self.server.take() {
            server.join().unwrap();
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.end();
    }
}

pub(super) fn mapped() -> Config {
    Config { doorbells: DoorbellStyle::Mapped, ..Config::default() }
}

pub(super) fn choice(doorbells: DoorbellChoice) -> Options {
    Options { doorbells, ..Options::default() }
}

#[test]
fn each_kind_of_doorbell_carries_verified_data() {
    let mut token = ThreadToken::at_thread_entry();
    let trapped = Config::default();
    let cases = [
        (&trapped, DoorbellChoice::Best, "shadow"),
        (&trapped, DoorbellChoice::Shadow, "shadow"),
        (&trapped, DoorbellChoice::Trapped, "trapped"),
        (&mapped(), DoorbellChoice::Best, "mapped"),
        (&mapped(), DoorbellChoice::Mapped, "mapped"),
        (&mapped(), DoorbellChoice::Trapped, "trapped"),
    ];
    for (config, doorbells, name) in cases {
        let lab = Lab::new(config);
        let mut driver = lab.start(&mut token, &choice(doorbells)).unwrap();
        assert_eq!(driver.identity().doorbells, name);
        let mut data = vec![0; 300 << 10];
        pattern::fill(&mut data, 512, 7, 1);
        driver.write(&mut token, 7, &data, false).unwrap();
        driver.flush(&mut token).unwrap();
        let mut back = vec![0; data.len()];
        driver.read(&mut token, 7, &mut back).unwrap();
        pattern::check(&back, 512, 7, 1).unwrap();
        driver.stop(&mut token).unwrap();
    }
}

/// Else it looks for the last user's queues in the next one's memory, and completes what it takes for commands there.
#[test]
fn a_controller_that_was_left_running_is_stopped_before_it_is_given_memory() {
    let mut token = ThreadToken::at_thread_entry();
    let lab = Lab::new(&Config::default());
    let mut driver = lab.start(&mut token, &Options::default()).unwrap();
    driver.check(&mut token).unwrap();
    drop(driver);
    // A driver that comes as far as its memory, and no further.
    let error = lab.start(&mut token, &choice(DoorbellChoice::Mapped)).err();
    assert!(matches!(error, Some(DriverError::NoSuchDoorbells(_))), "{error:?}");
    let client = Client::connect(&mut token, lab.directory.path(), ClientOptions::default()).unwrap();
    let mut registers = super::registers::Registers::open(&mut token, client).unwrap();
    assert!(!registers.check(&mut token).unwrap().rdy());
}

#[test]
fn doorbells_that_are_not_offered_are_refused_and_not_replaced() {
    let mut token = ThreadToken::at_thread_entry();
    let error = Lab::new(&Config::default()).start(&mut token, &choice(DoorbellChoice::Mapped)).err();
    assert!(matches!(error, Some(DriverError::NoSuchDoorbells("mapped"))), "{error:?}");
    let error = Lab::new(&mapped()).start(&mut token, &choice(DoorbellChoice::Shadow)).err();
    assert!(matches!(error, Some(DriverError::NoSuchDoorbells("shadow"))), "{error:?}");
}

#[test]
fn transfers_of_every_length_use_the_right_prps() {
    let mut token = ThreadToken::at_thread_entry();
    let lab = Lab::new(&Config { block_size: BlockSize::B4096, ..Config::default() });
    let options = Options { max_transfer: 1 << 20, depth: 2, ..Options::default() };
    let mut driver = lab.start(&mut token, &options).unwrap();
    // One page, two (PRP2 is a page), three and more (PRP2 is a list), and the largest.
    for pages in [1, 2, 3, 32, 255, 256] {
        let mut data = vec![0; pages * 4096];
        pattern::fill(&mut data, 4096, 0, pages as u64);
        driver.write(&mut token, 0, &data, true).unwrap();
        data.fill(0);
        driver.read(&mut token, 0, &mut data).unwrap();
        pattern::check(&data, 4096, 0, pages as u64).unwrap();
    }
}

#[test]
fn several_queues_run_at_full_depth_over_many_rounds_of_their_rings() {
    let mut token = ThreadToken::at_thread_entry();
    for config in [Config::default(), mapped(), Config { interrupts: InterruptStyle::Intx, ..mapped() }] {
        let lab = Lab::new(&config);
        let options = Options { queues: 3, depth: 7, max_transfer: 4096, ..Options::default() };
        let mut driver = lab.start(&mut token, &options).unwrap();
        let (mut issued, mut done) = ([0_u64; 3], 0);
        let mut free: Vec<Vec<u16>> = vec![(0..7).collect(); 3];
        let mut wait = super::admin::Wait::new("the test", Duration::from_secs(60));
        while done < 3 * 200 {
            for queue in 0..3_u16 {
                let at = usize::from(queue);
                while issued[at] < 200
                    && let Some(slot) = free[at].pop()
                {
                    let lba = 8 * (u64::from(queue) * 200 + issued[at]);
                    driver.submit(queue, slot, Io::Write { lba, blocks: 8, fua: false }).unwrap();
                    issued[at] += 1;
                }
                driver.ring(&mut token, queue).unwrap();
                let mut back: Vec<Completed> = Vec::new();
                driver.poll(&mut token, queue, |one| back.push(one)).unwrap();
                for one in back {
                    assert!(one.status.is_success(), "{}", one.status);
                    free[at].push(one.slot);
                    done += 1;
                }
            }
            wait.once(&mut token, &mut driver.admin.registers).unwrap();
        }
        driver.stop(&mut token).unwrap();
    }
}

#[test]
fn a_failed_command_is_reported_with_its_status_and_the_next_one_works() {
    let mut token = ThreadToken::at_thread_entry();
    let lab = Lab::new(&Config::default());
    let mut driver = lab.start(&mut token, &Options::default()).unwrap();
    let end = driver.identity().blocks;
    let error = driver.read(&mut token, end, &mut [0; 512]).unwrap_err();
    assert!(
        matches!(error, DriverError::Command { status, .. } if status.is(Status::LBA_OUT_OF_RANGE)),
        "{error}"
    );
    driver.read(&mut token, end - 1, &mut [0; 512]).unwrap();
}

#[test]
fn impossible_requests_are_refused_before_they_reach_the_controller() {
    let mut token = ThreadToken::at_thread_entry();
    let lab = Lab::new(&Config::default());
    let mut driver =
        lab.start(&mut token, &Options { depth: 2, max_transfer: 4096, ..Options::default() }).unwrap();
    let read = |blocks| Io::Read { lba: 0, blocks };
    for (queue, slot, io) in
        [(1, 0, read(1)), (0, 2, read(1)), (0, 0, read(0)), (0, 0, read(9)), (0, 0, read(u32::MAX))]
    {
        assert!(
            matches!(driver.submit(queue, slot, io), Err(DriverError::Request(_))),
            "{queue} {slot} {io:?}"
        );
    }
    driver.submit(0, 1, read(8)).unwrap();
    assert!(driver.submit(0, 1, read(8)).is_err(), "busy");
    let other =
        SubmissionEntry { opcode: NvmOpcode::Flush.code(), cid: 1.into(), ..SubmissionEntry::default() };
    assert!(driver.submit_raw(0, 0, &other).is_err(), "another slot's identifier");
    assert!(driver.fill(0, 0, &[0; 4097]).is_err() && driver.fill(0, 2, &[0]).is_err());
    for options in [
        Options { queues: 0, ..Options::default() },
        Options { depth: 1024, ..Options::default() },
        Options { max_transfer: (1 << 20) + 1, ..Options::default() },
    ] {
        assert!(matches!(options.check(), Err(DriverError::Request(_))), "{options:?}");
    }
}

#[test]
fn a_controller_can_be_used_again_after_it_was_stopped_or_left() {
    let mut token = ThreadToken::at_thread_entry();
    let lab = Lab::new(&Config::default());
    let mut driver = lab.start(&mut token, &Options::default()).unwrap();
    let mut data = vec![0; 4096];
    pattern::fill(&mut data, 512, 0, 9);
    driver.write(&mut token, 0, &data, false).unwrap();
    let client = driver.stop(&mut token).unwrap();
    // The same connection once more, and then left without a word.
    drop(Driver::start(&mut token, client, &Options::default()).unwrap());
    let mut driver = lab.start(&mut token, &Options::default()).unwrap();
    driver.read(&mut token, 0, &mut data).unwrap();
    pattern::check(&data, 512, 0, 9).unwrap();
}

#[test]
fn a_server_that_ends_is_noticed_long_before_the_time_out() {
    let mut token = ThreadToken::at_thread_entry();
    let mut lab = Lab::new(&mapped());
    let options = Options { timeout: Duration::from_secs(600), ..choice(DoorbellChoice::Mapped) };
    let mut driver = lab.start(&mut token, &options).unwrap();
    lab.end();
    // The doorbell is a store that succeeds, and no completion will ever come.
    let error = driver.flush(&mut token).unwrap_err();
    assert!(matches!(error, DriverError::Client(_)), "{error}");
}
