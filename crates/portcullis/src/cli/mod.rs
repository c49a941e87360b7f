//! The command line: [`grammar`] says what can be said, [`exit`] how it ends, the rest does it.

mod ask;
mod back_end;
mod containment;
mod events;
mod exercise;
pub mod exit;
pub mod grammar;
mod proxy;
mod serve;
mod slots;
mod text;
mod zpci;

use std::io::{self, Write};
use std::path::PathBuf;

use clap::Parser;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::control::client::Client;
use crate::control::protocol::Request;
use crate::run_dir;
use exit::{Exit, Failure};
use grammar::{Action, CommandLine, Global};

/// Runs the command line of this process and says how it ended.
pub fn run() -> Exit {
    let CommandLine { global, command } = CommandLine::parse();
    let done = match Action::from(command) {
        Action::Serve(serve) => serve::run(&global, &serve),
        Action::Proxy(it) => proxy::run(&global, it),
        Action::BackEnd(action) => back_end::run(&global, action),
        Action::Exercise(options) => exercise::run(&global, &options),
        Action::EventList(options) => events::run(&global, options),
        Action::Slots(action) => slots::run(&global, action),
        Action::Zpci(action) => zpci::run(&global, action),
        Action::Containment(action) => containment::run(&global, action),
        action => ask::run(&global, action),
    };
    match done {
        Ok(()) => Exit::Done,
        Err(Failure { exit, message }) => {
            if !message.is_empty() {
                // Nothing can be done if stderr is closed; the exit code still tells.
                let _ = writeln!(io::stderr().lock(), "portcullis: {message}");
            }
            exit
        }
    }
}

impl Global {
    fn run_dir(&self) -> PathBuf {
        self.run_dir.clone().unwrap_or_else(run_dir::default_path)
    }

    fn control_socket(&self) -> PathBuf {
        self.control.clone().unwrap_or_else(|| self.run_dir().join(run_dir::CONTROL_SOCKET))
    }
}

/// Prints one JSON document on one line.
fn print_json(document: &impl Serialize) -> Result<(), Failure> {
    let line = serde_json::to_string(document).map_err(io::Error::from)?;
    Ok(writeln!(io::stdout().lock(), "{line}")?)
}

/// Prints text as it is.
fn print_text(text: &str) -> Result<(), Failure> {
    Ok(io::stdout().lock().write_all(text.as_bytes())?)
}

/// One request, one document, which is printed and given back.
fn show<T: DeserializeOwned + Serialize>(
    global: &Global,
    request: &Request,
    words: impl Fn(&T) -> String,
) -> Result<T, Failure> {
    let report: T = Client::connect(&global.control_socket())?.ask(request)?;
    if global.json {
        print_json(&report)?
    } else {
        print_text(&words(&report))?
    };
    Ok(report)
}
