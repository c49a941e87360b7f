//! Commands that ask the daemon and print its answer.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::exit::{Exit, Failure};
use super::grammar::{Action, Global, OptionalTarget};
use super::{print_json, print_text, text};
use crate::control::client::{Client, ClientError};
use crate::control::protocol::{RefusalCode, Request};
use crate::control::report::{
    AdmissionChange, Dump, FunctionReport, FunctionSummary, LockEntry, PowerReport, RegisterReport,
    ResetDone, ResetMethods, VirtualFunctions,
};

pub(super) fn run(global: &Global, action: Action) -> Result<(), Failure> {
    let mut client = Client::connect(&global.control_socket())?;
    let mut ask = Ask { client: &mut client, json: global.json };
    match action {
        Action::FunctionList => {
            ask.one(&Request::FunctionList {}, |list: &Vec<FunctionSummary>| text::functions(list))
        }
        Action::FunctionShow(it) => ask
            .one(&Request::FunctionShow { target: it.target }, |report: &FunctionReport| {
                text::function(report)
            }),
        Action::FunctionDump(it) => ask.dump(it),
        Action::FunctionReset(it) => {
            let how = it.choice();
            let request = Request::FunctionReset { target: it.target.target, how };
            ask.one(&request, |done: &ResetDone| text::reset(done))
        }
        Action::FunctionResetMethod(it) => {
            let request = Request::FunctionResetMethod { target: it.target.target, list: it.list };
            ask.one(&request, |methods: &ResetMethods| text::reset_methods(methods))
        }
        Action::FunctionPower(it) => {
            let request = Request::FunctionPower { target: it.target.target, state: it.state };
            ask.one(&request, |power: &PowerReport| text::power(power))
        }
        Action::FunctionNumVfs(it) => {
            let request = Request::FunctionNumVfs { target: it.target.target, count: it.count };
            ask.one(&request, |functions: &VirtualFunctions| text::virtual_functions(functions))
        }
        Action::FunctionConfig(it) => {
            let request = Request::FunctionConfig { target: it.target.target, register: it.register };
            ask.one(&request, |register: &RegisterReport| text::register(register))
        }
        Action::FunctionRevoke(it) => {
            let request = Request::FunctionRevoke { target: it.target };
            ask.one(&request, |change: &AdmissionChange| text::admission(change, "revoked"))
        }
        Action::LockList => ask.one(&Request::Locks {}, |list: &Vec<LockEntry>| text::locks(list)),
        // These are not sent here.
        Action::Serve(_)
        | Action::Proxy(_)
        | Action::BackEnd(_)
        | Action::Exercise(_)
        | Action::EventList(_)
        | Action::Slots(_)
        | Action::Zpci(_)
        | Action::Containment(_) => Ok(()),
    }
}

struct Ask<'a> {
    client: &'a mut Client,
    json: bool,
}

impl Ask<'_> {
    /// One request, one document.
    fn one<T: DeserializeOwned + Serialize>(
        &mut self,
        request: &Request,
        words: impl Fn(&T) -> String,
    ) -> Result<(), Failure> {
        let report: T = self.client.ask(request)?;
        if self.json { print_json(&report) } else { print_text(&words(&report)) }
    }

    /// One function, or all of them one after the other, so that no answer grows with their number.
    fn dump(&mut self, it: OptionalTarget) -> Result<(), Failure> {
        let targets = match it.target {
            Some(target) => vec![target],
            None => {
                let list: Vec<FunctionSummary> = self.client.ask(&Request::FunctionList {})?;
                list.into_iter().map(|function| function.address).collect()
            }
        };
        let mut dumps = Vec::with_capacity(targets.len());
        for target in targets {
            let dump: Dump = self.client.ask(&Request::FunctionDump { target })?;
            dumps.push(dump);
        }
        if self.json { print_json(&dumps) } else { print_text(&text::dumps(&dumps)?) }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let exit = match &error {
            ClientError::Unreachable { .. } => Exit::Unreachable,
            ClientError::Refused(refusal) => match refusal.code {
                RefusalCode::NotFound => Exit::NotFound,
                RefusalCode::Busy | RefusalCode::TooManyClients => Exit::Busy,
                RefusalCode::BadRequest | RefusalCode::Gone | RefusalCode::Failed => Exit::Failed,
            },
            ClientError::NoAnswer(_) | ClientError::NotUnderstood(_) => Exit::Failed,
        };
        Self::new(exit, error.to_string())
    }
}
