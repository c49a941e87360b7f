//! A daemon in front of another daemon, as an operator sees it: the back end dies, returns, differs, fails.
#![allow(clippy::unwrap_used, reason = "a test")]

mod lab;

use std::path::Path;
use std::process::{Child, Stdio};

use lab::{Daemon, Lab, code, json, listed, portcullis, run, stderr, until};
use rustix::process::{Pid, Signal, kill_process};

/// One NVMe disk on a file.
fn back_end(size: &str) -> Lab {
    Lab::new(&format!(
        "[[slot]]\nname = \"disk0\"\naddress = \"01:00.0\"\ndevice = {{ model = \"nvme\", serial = \"BACKEND\" }}\n\
         backing = {{ kind = \"file\", path = \"disk0.img\", size = \"{size}\" }}\n"
    ))
}

/// A remote function in front of it.
fn front_end(back: &Lab, keys: &str) -> Lab {
    let upstream = back.run_dir().join("disk0");
    Lab::new(&format!(
        "[[slot]]\nname = \"front\"\naddress = \"01:00.0\"\n\
         device = {{ model = \"remote\", upstream = \"{}\"{keys} }}\n",
        upstream.display()
    ))
}

/// As a crash does it.
fn kill(mut daemon: Daemon) {
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
}

fn back_end_of(run_dir: &Path) -> serde_json::Value {
    json(run_dir, &["backend", "show", "front", "--json"])
}

fn count(run_dir: &Path, kind: &str) -> usize {
    let events = json(run_dir, &["events", "front", "--json"]);
    events.as_array().unwrap().iter().filter(|event| event["kind"] == kind).count()
}

fn exercise(front: &Lab, words: &[&str]) -> Child {
    let socket = front.run_dir().join("front").display().to_string();
    let mut command = portcullis(&front.run_dir());
    command.args(["--json", "exercise", &socket]).args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

#[test]
fn a_disk_is_verified_while_its_back_end_is_killed_again_and_again() {
    let back = back_end("64MiB");
    let mut behind = back.serve();
    let front = front_end(&back, ", max_losses = 100000");
    let daemon = front.serve();
    let mut driver = exercise(&front, &["--seconds", "4", "--depth", "16"]);
    let mut kills = 0;
    while driver.try_wait().unwrap().is_none() {
        kill(behind);
        kills += 1;
        behind = back.serve();
        let back_again = || count(&front.run_dir(), "back-end-returned") >= kills;
        until(|| driver.try_wait().unwrap().is_some() || back_again());
    }
    let output = driver.wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert!(kills >= 2, "{kills}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["reads"].as_u64().unwrap_or(1) > 0, "{report}");
    let told = back_end_of(&front.run_dir());
    assert_eq!((&told["mode"], &told["refused"]), (&"replay".into(), &0.into()), "{told}");
    assert!(told["losses"].as_u64().unwrap() >= 1 && told["last_pause_us"].as_u64().unwrap() > 0, "{told}");
    assert_eq!(count(&front.run_dir(), "back-end-failed"), 0);
    let (status, said) = daemon.end(Signal::TERM);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!(behind.end(Signal::TERM).0, Some(0));
}

#[test]
fn what_differs_is_refused_and_costs_the_card() {
    let back = back_end("64MiB");
    let other = back_end("32MiB");
    let behind = back.serve();
    let front = front_end(&back, "");
    let daemon = front.serve();
    kill(behind);
    // A smaller disk at the same socket.
    let text = std::fs::read_to_string(other.file("lab.toml")).unwrap();
    let smaller = text.replace("disk0.img", &other.file("disk0.img").display().to_string());
    std::fs::write(back.file("smaller.toml"), smaller).unwrap();
    let config = back.file("smaller.toml").display().to_string();
    let imposter = Daemon::start(&back.run_dir(), &[&config]);
    until(|| count(&front.run_dir(), "back-end-failed") == 1);
    assert_eq!(count(&front.run_dir(), "back-end-differs"), 1);
    assert_eq!(count(&front.run_dir(), "back-end-returned"), 0);
    until(|| json(&front.run_dir(), &["slot", "show", "front", "--json"])["state"] == "off");
    drop((daemon, imposter));
}

#[test]
fn a_back_end_that_stays_away_costs_the_card_and_its_slot_takes_another() {
    let back = back_end("64MiB");
    let behind = back.serve();
    let front = front_end(&back, ", give_up_after = \"300ms\"");
    let daemon = front.serve();
    kill(behind);
    until(|| count(&front.run_dir(), "back-end-failed") == 1);
    until(|| json(&front.run_dir(), &["slot", "show", "front", "--json"])["state"] == "off");
    let behind = back.serve();
    let output = run(&front.run_dir(), &["slot", "power", "front", "on"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let output = exercise(&front, &["--size", "8MiB"]).wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    drop((daemon, behind));
}

#[test]
fn in_passthrough_a_dead_back_end_is_a_frozen_pe_and_its_return_a_recovery() {
    let back = back_end("64MiB");
    let behind = back.serve();
    let front = front_end(&back, ", mode = \"passthrough\"");
    let daemon = front.serve();
    let output = exercise(&front, &["--size", "8MiB"]).wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    kill(behind);
    until(|| listed(&json(&front.run_dir(), &["ls", "--json"]), "front")["state"] == "frozen");
    assert!(count(&front.run_dir(), "pe-frozen") >= 1);
    let behind = back.serve();
    until(|| count(&front.run_dir(), "recovery-ended") >= 1);
    until(|| listed(&json(&front.run_dir(), &["ls", "--json"]), "front")["state"] == "open");
    let output = exercise(&front, &["--size", "8MiB"]).wait_with_output().unwrap();
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    drop((daemon, behind));
}

#[test]
fn the_one_line_form_serves_at_its_socket_and_restarts_what_it_stands_before() {
    let back = back_end("64MiB");
    let behind = back.serve();
    let lab = Lab::new("");
    let (listen, run_dir) = (lab.file("vm.sock"), lab.file("vm.sock.d"));
    let upstream = back.run_dir().join("disk0").display().to_string();
    let restart =
        [env!("CARGO_BIN_EXE_portcullis"), "--run-dir", &back.run_dir().display().to_string(), "serve"]
            .map(str::to_owned);
    let config = back.config();
    let listen_text = listen.display().to_string();
    let mut words = vec!["--upstream", &upstream, "--listen", &listen_text, "--restart"];
    words.extend(restart.iter().map(String::as_str));
    words.push(&config);
    let daemon = Daemon::start_as(&run_dir, "proxy", &words);
    kill(behind);
    let shown = || json(&run_dir, &["backend", "--json"])[0].clone();
    until(|| shown()["losses"] == 1 && shown()["state"] == "connected");
    let restarted =
        shown()["pid"].as_i64().and_then(|pid| Pid::from_raw(i32::try_from(pid).unwrap())).unwrap();
    let socket = listen.display().to_string();
    let output = run(&run_dir, &["exercise", &socket, "--size", "8MiB"]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    assert_eq!(daemon.end(Signal::TERM).0, Some(0));
    kill_process(restarted, Signal::KILL).unwrap();
}

#[test]
fn faults_by_rules_are_given_listed_and_cleared() {
    let lab = Lab::new(
        "[[slot]]\nname = \"front\"\naddress = \"01:00.0\"\ndevice = { model = \"endpoint-test\" }\n\
         inject = [\"read-slow:delay=1ms,count=3\"]\n",
    );
    let daemon = lab.serve();
    let dir = lab.run_dir();
    let rules = || json(&dir, &["inject", "front", "--rules", "--json"]);
    assert_eq!(rules().as_array().unwrap().len(), 1, "{}", rules());
    let given = run(&dir, &["inject", "front", "read-ones:config,range=0x0-0x3,count=1"]);
    assert_eq!(code(&given), 0, "{}", stderr(&given));
    assert_eq!(rules().as_array().unwrap().len(), 2);
    let first = run(&dir, &["config", "front", "VENDOR_ID"]);
    let second = run(&dir, &["config", "front", "VENDOR_ID"]);
    assert_ne!(first.stdout, second.stdout, "one of them gave all-ones");
    assert_eq!(rules()[1]["hits"], 1, "{}", rules());
    // A function without a back end has none to kill, and a rule has to be one.
    for (rule, words) in [("kill:after=1s", "back end"), ("read-slow:delay=soon", "delay")] {
        let refused = run(&dir, &["inject", "front", rule]);
        assert_ne!(code(&refused), 0);
        assert!(stderr(&refused).contains(words), "{}", stderr(&refused));
    }
    let cleared = json(&dir, &["inject", "front", "--clear", "all", "--json"]);
    assert_eq!(cleared["cleared"], 2, "{cleared}");
    assert!(rules().as_array().unwrap().is_empty());
    assert_eq!(count(&dir, "injected"), 2);
    drop(daemon);
}

#[test]
fn without_a_back_end_nothing_is_served_and_the_fix_is_said() {
    let lab = Lab::new(
        "[[slot]]\nname = \"front\"\naddress = \"01:00.0\"\n\
         device = { model = \"remote\", upstream = \"nobody.sock\", connect_timeout = \"200ms\" }\n",
    );
    let output = run(&lab.run_dir(), &["serve", &lab.config()]);
    assert_eq!(code(&output), 1);
    let text = stderr(&output);
    assert!(text.contains("lab.toml:1:") && text.contains("nobody.sock") && text.contains("fix: "), "{text}");
}
