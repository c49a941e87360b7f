//! What a command does.

use gate::Pass;

use super::command::{Command, Outcome, Request};
use super::dmb::{Dmb, Kept};
use super::engine::{Answer, Running};
use super::function::Ism;
use super::layout::{DMB_ALIGNMENT, MAX_DMB_BYTES};
use super::moves::{self, Load};
use super::statistics::Statistic;
use super::token::Token;

/// Carries a command out and answers it. The time it takes is bounded: it looks at each place of a table once at most.
pub(super) fn run(ism: &Ism, pass: &Pass<'_>, running: Running<'_>, request: Request) {
    let Request { code, tag, command } = request;
    let carried_out = command.and_then(|command| carry_out(ism, pass, command));
    let (outcome, value) = match carried_out {
        Ok(value) => (Outcome::Done, value),
        Err(outcome) => (outcome, 0),
    };
    ism.member().statistics.add(Statistic::Commands, 1);
    running.answer(Answer { tag, code, outcome, value });
}

/// What the command gives back.
fn carry_out(ism: &Ism, pass: &Pass<'_>, command: Command) -> Result<u64, Outcome> {
    let member = ism.member();
    match command {
        Command::SetSignalArea { address } => {
            if member.set_area(address) {
                Ok(0)
            } else {
                Err(Outcome::Invalid)
            }
        }
        Command::ClearSignalArea => {
            member.clear_area();
            Ok(0)
        }
        Command::RegisterDmb { address, length, sender } => {
            check(address, length, sender)?;
            let token = |dmb| ism.network().token(member.seat(), dmb);
            let token = member.dmbs.register(Dmb { address, length, sender }, token);
            token.map(Token::get).ok_or(Outcome::NoRoom)
        }
        Command::UnregisterDmb { token } => {
            // A peer's token names nothing here: its seat is in it.
            let token = Token::from_raw(token).ok_or(Kept::Unknown);
            let unregistered = token.and_then(|token| member.dmbs.unregister(token));
            unregistered.map(|()| 0).map_err(|kept| match kept {
                Kept::Unknown => Outcome::UnknownToken,
                Kept::Busy => Outcome::Busy,
            })
        }
        Command::FindPeer { gid } => {
            let peer = ism.network().find(gid);
            if peer.is_some() { Ok(0) } else { Err(Outcome::NoPeer) }
        }
        Command::OpenChannel { token } => open(ism, pass, token),
        Command::CloseChannel { channel } => {
            let closed = u16::try_from(channel).is_ok_and(|channel| ism.channels().close(channel));
            if closed { Ok(0) } else { Err(Outcome::NoChannel) }
        }
        Command::Signal { channel } => signal(ism, pass, channel),
    }
}

fn open(ism: &Ism, pass: &Pass<'_>, token: u64) -> Result<u64, Outcome> {
    let token = Token::from_raw(token).ok_or(Outcome::UnknownToken)?;
    let length =
        moves::look(ism.network(), ism.member(), pass, token).map_err(|refused| refused.outcome())?;
    let channel = ism.channels().open(token).ok_or(Outcome::NoRoom)?;
    Ok(u64::from(channel) | length << 32)
}

fn signal(ism: &Ism, pass: &Pass<'_>, channel: u64) -> Result<u64, Outcome> {
    let token = u16::try_from(channel).ok().and_then(|channel| ism.channels().get(channel));
    let token = token.ok_or(Outcome::NoChannel)?;
    let nothing = Load { offset: 0, data: &[], signals: true };
    let carried = moves::carry(ism.network(), ism.member(), pass, token, nothing);
    carried.map(|()| 0).map_err(|refused| refused.outcome())
}

/// Whether a buffer may be there. Whether there is memory is asked at each move.
pub(super) fn check(address: u64, length: u64, sender: u64) -> Result<(), Outcome> {
    let aligned = address.is_multiple_of(DMB_ALIGNMENT) && length.is_multiple_of(DMB_ALIGNMENT);
    let fits = (1..=MAX_DMB_BYTES).contains(&length) && address.checked_add(length).is_some();
    if aligned && fits && sender != 0 { Ok(()) } else { Err(Outcome::Invalid) }
}
