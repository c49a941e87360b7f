//! Nobody, and who cannot be reached.

use super::{Party, Reply};
use crate::plan::{Answer, Call, Role};
use gate::ThreadToken;

/// Nobody has the function.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Party for Nobody {
    fn name(&self) -> String {
        String::from("nobody")
    }

    fn role(&self) -> Role {
        Role::Unbound
    }

    fn call(&self, _token: &mut ThreadToken, _call: Call, reply: Reply) {
        reply.answer(Answer::Done);
    }
}

/// Somebody may have the function, but who it is could not be found out in time. Counts as a driver that knows of no errors, and
/// is lost as soon as it is to let go: nobody's function is reset behind his back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unresponsive;

impl Party for Unresponsive {
    fn name(&self) -> String {
        String::from("somebody who did not answer")
    }

    fn role(&self) -> Role {
        Role::Unaware
    }

    fn call(&self, _token: &mut ThreadToken, _call: Call, reply: Reply) {
        drop(reply);
    }
}
