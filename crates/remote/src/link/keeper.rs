//! The thread that looks after a connection while nobody calls.
//!
//! It notices that the back end hangs up, serves what the back end asks for of its own accord, and takes replies that nobody
//! waits for. While there are calls it keeps out of the way: whoever calls reads everything that comes, and a second thread
//! that woke for each reply would cost more than the reply. So it looks for messages only when there was no call for
//! [`LOOK`]; the first reply after such a rest wakes it in vain, once. A connection at rest costs no wake-ups.

use std::time::Duration;

use gate::{Deadline, ThreadToken};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use vfio_user::client::{Attended, Client, ClientError};
use vfio_user::codec::Command;
use vfio_user::connection::ConnectionError;

use super::Loss;
use super::loss::judge;
use super::shared::Shared;

/// How often it looks whether there still are calls, while there are.
const LOOK: Duration = Duration::from_millis(10);

/// How long it sleeps when it waits for nothing but the back end.
const LONG: Duration = Duration::from_secs(3600);

/// Looks after the connection until the link is lost.
pub(super) fn keep(shared: &Shared, token: &mut ThreadToken) {
    let mut keeper = Keeper { shared, calls: 0, rests: false, owed: None };
    while shared.loss().is_none() {
        if let Err(loss) = keeper.look(token) {
            shared.lose(loss);
        }
    }
}

struct Keeper<'a> {
    shared: &'a Shared,
    /// Calls at the last look.
    calls: u64,
    /// There have been none since, and what had come then is seen to.
    rests: bool,
    /// The back end owes something until then.
    owed: Option<Deadline>,
}

impl Keeper<'_> {
    fn look(&mut self, token: &mut ThreadToken) -> Result<(), Loss> {
        let gone = self.wait(token).map_err(Loss::Failed)?;
        if gone {
            return Err(self.read_to_the_end(token));
        }
        let before = std::mem::replace(&mut self.calls, self.shared.calls());
        // Somebody calls, and reads what there is.
        self.rests = before == self.calls && self.see_to_what_has_come(token)?;
        Ok(())
    }

    /// Waits for something to do. True if the back end has hung up.
    fn wait(&self, token: &mut ThreadToken) -> Result<bool, Errno> {
        token.assert_holds_nothing();
        let (input, sleep) = match self.owed {
            _ if !self.rests => (PollFlags::empty(), LOOK),
            Some(deadline) => (PollFlags::IN, deadline.remaining().unwrap_or_default()),
            None => (PollFlags::IN, LONG),
        };
        let sleep = Timespec::try_from(sleep).map_err(|_| Errno::INVAL)?;
        let mut watched = [
            PollFd::new(&self.shared.bell, PollFlags::IN),
            PollFd::new(&self.shared.socket, PollFlags::RDHUP | input),
        ];
        match poll(&mut watched, Some(&sleep)) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(false),
            Err(errno) => return Err(errno),
        }
        let [bell, socket] = watched.map(|watched| watched.revents());
        if !bell.is_empty() {
            // It fails when somebody else has heard it, and nobody else listens.
            let _ = rustix::io::read(&self.shared.bell, &mut [0; 8]);
        }
        let over = PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL;
        Ok(socket.intersects(over))
    }

    /// Takes what has come, unless somebody else is about to. True: there is nothing more.
    fn see_to_what_has_come(&mut self, token: &mut ThreadToken) -> Result<bool, Loss> {
        // Whoever wants the connection gets it between two turns of this, and ends the loop; so does a loss.
        while let Some(client) = self.shared.try_take() {
            let attended = self.shared.turn_with(client, |client| attend(client, token))?;
            self.owed = attended.owed;
            if !attended.more {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Everything that the back end sent before it hung up still counts. How the link is lost.
    fn read_to_the_end(&self, token: &mut ThreadToken) -> Loss {
        let deadline = Deadline::after(self.shared.reply_timeout);
        while deadline.remaining().is_some() {
            // Whoever is inside finds the end itself.
            let Ok(client) = self.shared.stand_in_line(token, deadline) else { break };
            match self.shared.turn_with(client, |client| attend(client, token)) {
                Ok(Attended { more: true, .. }) => {}
                Ok(_) => break,
                Err(loss) => return loss,
            }
        }
        Loss::Closed
    }
}

/// A turn of the keeper's.
fn attend(client: &mut Client, token: &mut ThreadToken) -> Result<Attended, Loss> {
    client.set_deadline(None);
    client.attend(token).map_err(|error| match (client.expects(), error) {
        (None, ClientError::Connection(ConnectionError::ReceiveTimedOut)) => {
            Loss::Nonsense("it began a message and did not end it")
        }
        (owed, error) => match judge(owed.unwrap_or(Command::DeviceReset), error) {
            Err(loss) => loss,
            // It asks for nothing, so it is refused nothing.
            Ok(_) => Loss::Nonsense("it refused what nobody asked for"),
        },
    })
}
