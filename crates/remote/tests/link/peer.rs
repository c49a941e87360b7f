//! Who the back end is, and what two of this project tell each other.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;

use gate::ThreadToken;
use remote::link::{Link, LinkOptions, Loss};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Signal, pidfd_send_signal};

use crate::rig::{LONG, Memory, Rig, Told};

/// Set in the other process.
const OTHER: &str = "REMOTE_TEST_BACK_END";

#[test]
#[ignore = "the other process of the test below"]
fn a_back_end_of_its_own() {
    if std::env::var_os(OTHER).is_none() {
        return;
    }
    let rig = Rig::plain();
    println!("\nat {}", rig.path().display());
    std::io::stdout().flush().unwrap();
    // Until it is killed.
    let _ = std::io::stdin().lines().next();
}

#[test]
fn the_process_of_a_back_end_is_known_and_its_death_is_told_and_seen() {
    let mut token = ThreadToken::at_thread_entry();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "peer::a_back_end_of_its_own", "--ignored", "--nocapture"])
        .env(OTHER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let path = lines.find_map(|line| line.unwrap().strip_prefix("at ").map(String::from)).unwrap();
    let told = Arc::new(Told::default());
    let options = LinkOptions { reply_timeout: LONG, ..LinkOptions::default() };
    let memory = Arc::new(Memory::default());
    let link = Link::connect(&mut token, path.as_ref(), options, memory, told.clone()).unwrap();
    link.read(&mut token, 0, 0, &mut [0; 4]).unwrap();
    assert_eq!(link.peer().pid, Some(i32::try_from(child.id()).unwrap()));
    let pidfd = link.peer().pidfd.as_ref().unwrap();
    let is_over =
        |timeout: Timespec| poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&timeout)).unwrap() == 1;
    assert!(!is_over(Timespec::default()));
    pidfd_send_signal(pidfd, Signal::KILL).unwrap();
    assert!(is_over(LONG.try_into().unwrap()));
    assert_eq!(told.wait(), Loss::Closed);
    assert_eq!(child.wait().unwrap().signal(), Some(9));
    // It had no time to tidy up.
    std::fs::remove_dir_all(std::path::Path::new(&path).parent().unwrap()).unwrap();
}

#[test]
fn a_link_introduces_itself_if_it_is_told_to_and_believes_what_it_hears() {
    let mut token = ThreadToken::at_thread_entry();
    for (introduce, says, over) in [
        (true, "{}", false),
        (true, "{\"portcullis\":{}}", false),
        (true, "{\"portcullis\":{\"io_over\":true}}", true),
        (false, "{}", false),
    ] {
        let (heard, hears) = channel();
        let rig = Rig::start(move |conversation| {
            let Some(request) = conversation.receive() else { return };
            let text = String::from_utf8(request.payload[4..].to_vec()).unwrap();
            heard.send(text).unwrap();
            conversation.early.push_back(request);
            if conversation.negotiate(says) {
                conversation.wait_for_the_end();
            }
        });
        let options = LinkOptions { introduce, ..LinkOptions::default() };
        let memory = Arc::new(Memory::default());
        let told = Arc::new(Told::default());
        let link = Link::connect(&mut token, rig.path(), options, memory, told).unwrap();
        assert_eq!(link.peer().io_is_over, over, "{says}");
        let heard = hears.recv().unwrap();
        assert_eq!(heard.contains("portcullis"), introduce, "{heard}");
    }
}
