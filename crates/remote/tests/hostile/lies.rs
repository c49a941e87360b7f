//! What a back end may do when a function has long trusted it.

use rustix::io::Errno;
use vfio_user::codec::{Command, DmaAccess, Header, HeaderFlags, MessageType};
use zerocopy::IntoBytes;

use crate::between::{Act, Lie, Line, Then, files};
use crate::message::Message;
use crate::vm::{MAPPED, NOW_AND_THEN, READ_ONLY};

/// What is to come of a lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The connection is given up.
    Lost,
    /// It goes on: the lie is one that a back end may tell.
    Stays,
    /// Either.
    Either,
}

pub(crate) fn any(_: &Message) -> bool {
    true
}

pub(crate) fn is_read(message: &Message) -> bool {
    message.command() == Some(Command::RegionRead)
}

fn is_unmap(message: &Message) -> bool {
    message.command() == Some(Command::DmaUnmap)
}

fn is_map(message: &Message) -> bool {
    message.command() == Some(Command::DmaMap)
}

fn lie(name: &'static str, about: fn(&Message) -> bool, act: Act) -> Lie {
    Lie { name, about, act, after: 0, times: 1 }
}

/// Says this instead.
fn says(line: &Line, bytes: &[u8]) -> Then {
    line.send(bytes);
    Then::GoesOn
}

/// Says this and no more.
fn stops(line: &Line, bytes: &[u8]) -> Then {
    line.send(bytes);
    Then::IsSilent
}

/// Every lie, and what is to come of it.
pub(crate) fn all() -> Vec<(Lie, End)> {
    let lost = [headers(), payloads(), streams()].into_iter().flatten().map(|lie| (lie, End::Lost));
    let either = [commands(), floods()].into_iter().flatten();
    lost.chain(refusals().into_iter().map(|lie| (lie, End::Stays))).chain(either).collect()
}

fn headers() -> Vec<Lie> {
    vec![
        lie("another id", any, |line, m| says(line, &m.changed(|h| h.message_id ^= 1))),
        lie("another command", any, |line, m| says(line, &m.changed(|h| h.command ^= 16))),
        lie("no command", any, |line, m| says(line, &m.changed(|h| h.command = 999))),
        lie("a command of that name", any, |line, m| says(line, &m.changed(|h| h.flags = 0))),
        lie("a type that there is not", any, |line, m| says(line, &m.changed(|h| h.flags = 7))),
        lie("no size", any, |line, m| says(line, &m.changed(|h| h.size = 0))),
        lie("half of a header's size", any, |line, m| says(line, &m.changed(|h| h.size = 8))),
        lie("a size of 4 GiB", any, |line, m| stops(line, &m.changed(|h| h.size = u32::MAX))),
        lie("a size of 2 GiB", any, |line, m| stops(line, &m.changed(|h| h.size = 1 << 31))),
        lie("a size just beyond the limit", any, |line, m| stops(line, &m.changed(|h| h.size = 2 << 20))),
        lie("a refusal with a size of 4 GiB", any, |line, m| {
            stops(line, &m.changed(|h| (h.flags, h.error, h.size) = (0x21, 5, u32::MAX)))
        }),
    ]
}

fn payloads() -> Vec<Lie> {
    vec![
        lie("no payload", is_read, |line, m| says(line, &m.with(&[]))),
        lie("a short payload", is_read, |line, m| says(line, &m.with(&m.payload()[..m.payload().len() - 1]))),
        lie("a long payload", is_read, |line, m| says(line, &m.put(m.payload().len(), &[7]))),
        lie("a megabyte", is_read, |line, m| says(line, &m.put(m.payload().len(), &vec![7; 1 << 20]))),
        lie("a count of 4 GiB", is_read, |line, m| says(line, &m.put(12, &[0xff; 4]))),
        lie("a short payload of an unmap", is_unmap, |line, m| says(line, &m.with(&m.payload()[..23]))),
    ]
}

fn streams() -> Vec<Lie> {
    vec![
        lie("it leaves", any, |_, _| Then::Leaves),
        lie("it leaves within a header", any, |line, m| {
            line.send(&m.bytes[..9]);
            Then::Leaves
        }),
        lie("it leaves within a payload", is_read, |line, m| {
            line.send(&m.bytes[..17]);
            Then::Leaves
        }),
        lie("it refuses memory and leaves", is_map, |line, m| {
            line.send(m.header().error_reply(Errno::NOMEM).as_bytes());
            Then::Leaves
        }),
        lie("silence", any, |_, _| Then::IsSilent),
        lie("silence within a header", any, |line, m| stops(line, &m.bytes[..9])),
        lie("silence within a payload", is_read, |line, m| stops(line, &m.bytes[..17])),
        lie("an answer that comes when it was given up", is_read, |line, m| {
            line.wait_for_the_end();
            says(line, &m.bytes)
        }),
        lie("every answer twice", any, |line, m| {
            line.pass_on(&m);
            says(line, &m.bytes)
        }),
        lie("another answer before it", any, |line, m| {
            says(line, &m.changed(|h| (h.message_id, h.flags, h.error) = (h.message_id ^ 0x4000, 0x21, 5)));
            says(line, &m.bytes)
        }),
        lie("64 KiB of ones", any, |line, _| says(line, &[0xff; 64 << 10])),
        lie("64 KiB of zeroes", any, |line, _| says(line, &[0; 64 << 10])),
    ]
}

/// What a back end may do.
fn refusals() -> Vec<Lie> {
    vec![
        lie("a refusal", is_read, |line, m| says(line, m.header().error_reply(Errno::PERM).as_bytes())),
        lie("a refusal with a payload", is_read, |line, m| {
            says(line, &m.changed(|h| (h.flags, h.error) = (0x21, 13)))
        }),
        lie("a refusal without a number", is_read, |line, m| {
            says(line, Header { error: 0, ..m.header().error_reply(Errno::PERM) }.as_bytes())
        }),
        lie("a refusal with a number that there is not", is_read, |line, m| {
            says(line, Header { error: u32::MAX, ..m.header().error_reply(Errno::PERM) }.as_bytes())
        }),
        lie("a payload where none belongs", is_map, |line, m| says(line, &m.with(&[7; 32]))),
        lie("a descriptor", any, |line, m| {
            line.send_with(&m.bytes, &files(1));
            Then::GoesOn
        }),
        lie("250 descriptors", any, |line, m| {
            line.send_with(&m.bytes, &files(250));
            Then::GoesOn
        }),
        lie("descriptors with every byte", any, |line, m| {
            for byte in m.bytes {
                line.send_with(&[byte], &files(20));
            }
            Then::GoesOn
        }),
    ]
}

/// Reads and writes there, which must both be refused if the function answers at all.
fn reaches_for(line: &Line, address: u64, count: u64, reading: bool) {
    let access = DmaAccess { address, count };
    let data = vec![0xee; usize::try_from(count.min(1 << 20)).unwrap()];
    let written = line.ask(Command::DmaWrite, &[access.as_bytes(), &data].concat());
    let read = reading.then(|| line.ask(Command::DmaRead, access.as_bytes())).flatten();
    for answer in [written, read].into_iter().flatten() {
        let is_reply = answer.header().message_type() == Some(MessageType::Reply);
        if !is_reply || answer.header().failure().is_none() {
            line.complain(format!("{count:#x} bytes at {address:#x} are given away"));
        }
    }
}

fn reaches_and_passes_on(line: &Line, message: &Message, targets: &[(u64, u64)]) -> Then {
    for (address, count) in targets {
        reaches_for(line, *address, *count, true);
    }
    line.pass_on(message);
    Then::GoesOn
}

/// Commands of the back end's own.
fn commands() -> Vec<(Lie, End)> {
    let queues = remote::nvme::Options::default().iova;
    assert_eq!(queues, QUEUES);
    vec![
        (
            lie("memory that is not mapped", any, |line, m| {
                let around = [(MAPPED - 8, 8), (MAPPED - 8, 16), (MAPPED + 4096, 8), (MAPPED + 4092, 8)];
                let others = [(0, 4096), (QUEUES, 64), (NOW_AND_THEN + 4096, 8), (u64::MAX - 7, 4)];
                reaches_and_passes_on(line, &m, &[&around[..], &others].concat())
            }),
            End::Stays,
        ),
        (
            lie("memory that may only be read", any, |line, m| {
                reaches_for(line, READ_ONLY, 8, false);
                line.pass_on(&m);
                Then::GoesOn
            }),
            End::Stays,
        ),
        (
            lie("memory that wraps", any, |line, m| {
                reaches_and_passes_on(line, &m, &[(u64::MAX - 7, 16), (u64::MAX, 1 << 20)])
            }),
            End::Either,
        ),
        (
            lie("more memory than there is", any, |line, m| {
                reaches_and_passes_on(line, &m, &[(0, u64::MAX), (MAPPED, u64::MAX), (MAPPED, 1 << 32)])
            }),
            End::Either,
        ),
        (lie("nothing", any, |line, m| reaches_and_passes_on(line, &m, &[(MAPPED, 0)])), End::Either),
        (
            lie("a write with less data than it says", any, |line, m| {
                let access = DmaAccess { address: MAPPED, count: 4096 };
                line.ask(Command::DmaWrite, &[access.as_bytes(), &[0xee; 8]].concat());
                line.pass_on(&m);
                Then::GoesOn
            }),
            End::Either,
        ),
        (
            lie("a command that is the function's to give", any, |line, m| {
                for command in Command::ALL {
                    if !matches!(command, Command::DmaRead | Command::DmaWrite) {
                        line.ask(command, &[0; 32]);
                    }
                }
                line.pass_on(&m);
                Then::GoesOn
            }),
            End::Either,
        ),
        (lie("rings every bell", any, rings), End::Stays),
    ]
}

/// Where mode `replay` has the queues that it shares with a back end.
const QUEUES: u64 = 0xff_0000_0000;

/// Signals every interrupt that there is, over and over.
fn rings(line: &Line, message: Message) -> Then {
    for event in line.events() {
        for _ in 0..10_000 {
            let _ = rustix::io::write(&event, &1u64.to_ne_bytes());
        }
        let _ = rustix::io::write(&event, &(u64::MAX - 1).to_ne_bytes());
    }
    line.pass_on(&message);
    Then::GoesOn
}

fn floods() -> Vec<(Lie, End)> {
    fn flood(line: &Line, command: Command, flags: HeaderFlags) -> Then {
        let payload = [DmaAccess { address: MAPPED, count: 4 }.as_bytes(), &[0; 4]].concat();
        let header = Header::command(1, command, payload.len(), flags);
        let many = [header.as_bytes(), &payload].concat().repeat(64);
        // It ends when the function has had enough.
        while line.send(&many) {}
        Then::Leaves
    }
    vec![
        (
            lie("a flood of writes", any, |line, _| flood(line, Command::DmaWrite, HeaderFlags::empty())),
            End::Lost,
        ),
        (
            lie("a flood of posted writes", any, |line, _| {
                flood(line, Command::DmaWrite, HeaderFlags::NO_REPLY)
            }),
            End::Lost,
        ),
        (
            lie("a flood of questions", any, |line, _| flood(line, Command::Version, HeaderFlags::empty())),
            End::Lost,
        ),
    ]
}

/// Writes noise over everything that it was given for the queues.
pub(crate) fn scribbles(line: &Line, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    for (iova, size, file) in line.maps() {
        if iova >= QUEUES {
            let mut noise = vec![0; usize::try_from(size).unwrap()];
            random.fill(&mut noise);
            let _ = rustix::io::pwrite(&file, &noise, 0);
        }
    }
}
