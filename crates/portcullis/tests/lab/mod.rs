//! The binary in a directory of its own: a daemon, and commands that ask it.
#![allow(dead_code, reason = "each test file uses a part")]

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Long enough for a busy machine; nothing waits this long when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn portcullis(run_dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.env("PORTCULLIS_RUN_DIR", run_dir).env_remove("PORTCULLIS_CONTROL").env_remove("PORTCULLIS_LOG");
    command.stdin(Stdio::null());
    command
}

/// Runs a command to its end.
pub(crate) fn run(run_dir: &Path, words: &[&str]) -> Output {
    portcullis(run_dir).args(words).output().unwrap()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The JSON document that a command that succeeds prints.
pub(crate) fn json(run_dir: &Path, words: &[&str]) -> serde_json::Value {
    let output = run(run_dir, words);
    assert_eq!(code(&output), 0, "{words:?}: {}", stderr(&output));
    assert_eq!(output.stdout.iter().filter(|&&b| b == b'\n').count(), 1, "one document on one line");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// A daemon that is ready. Killed when dropped, unless it was ended before.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) printed: String,
    /// Everything it said on stderr, once it has ended.
    pub(crate) said: Receiver<String>,
}

impl Daemon {
    pub(crate) fn start(run_dir: &Path, words: &[&str]) -> Self {
        Self::start_as(run_dir, "serve", words)
    }

    /// With another command than `serve` that serves.
    pub(crate) fn start_as(run_dir: &Path, command_word: &str, words: &[&str]) -> Self {
        let mut command = portcullis(run_dir);
        let mut child = command
            .arg(command_word)
            .args(words)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdout, mut stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (say, said) = channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            let _ = say.send(text);
        });
        let (ready, is_ready) = channel();
        std::thread::spawn(move || {
            let mut printed = String::new();
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                printed.push_str(&line);
                printed.push('\n');
                if line == "ready" || line.starts_with("{\"ready\":true") {
                    break;
                }
            }
            let _ = ready.send(printed);
        });
        let printed = is_ready.recv_timeout(PATIENCE).unwrap();
        let daemon = Self { child, printed, said };
        assert!(
            daemon.printed.contains("ready"),
            "not ready: {}",
            daemon.said.recv_timeout(PATIENCE).unwrap()
        );
        daemon
    }

    /// Sends `signal` and gives exit code and stderr.
    pub(crate) fn end(mut self, signal: Signal) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
        let status = wait(&mut self.child);
        (status, self.said.recv_timeout(PATIENCE).unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits for the end of a child, up to the limit of patience.
pub(crate) fn wait(child: &mut Child) -> Option<i32> {
    let mut status = None;
    until(|| {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    status.unwrap().code()
}

pub(crate) fn until(mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < end, "still not so after {PATIENCE:?}");
        std::thread::yield_now();
    }
}

/// A directory with a configuration file in it.
pub(crate) struct Lab {
    pub(crate) directory: tempfile::TempDir,
}

impl Lab {
    pub(crate) fn new(toml: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("lab.toml"), toml).unwrap();
        Self { directory }
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn config(&self) -> String {
        self.file("lab.toml").display().to_string()
    }

    pub(crate) fn serve(&self) -> Daemon {
        Daemon::start(&self.run_dir(), &[&self.config()])
    }

    pub(crate) fn exercise(&self, slot: &str, words: &[&str]) -> Output {
        let socket = self.run_dir().join(slot).display().to_string();
        run(&self.run_dir(), &[&["exercise", &socket], words].concat())
    }
}

/// The function of a slot in what `ls --json` prints.
pub(crate) fn listed<'l>(list: &'l serde_json::Value, slot: &str) -> &'l serde_json::Value {
    list.as_array().unwrap().iter().find(|function| function["slot"] == slot).unwrap()
}
