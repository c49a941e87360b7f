//! What a hostile back end may answer, and how the link is to end. Also counted for what it leaves behind (`link_leaks`).
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use gate::ThreadToken;
use remote::link::{Link, LinkError, Loss};
use rustix::io::Errno;
use vfio_user::codec::{
    CapabilityHeader, Command, DmaAccess, Header, HeaderFlags, IrqInfo, RegionAccess, RegionInfo,
};
use zerocopy::IntoBytes;

use crate::rig::conversation::version;
use crate::rig::{Conversation, LONG, Memory, Request, Rig, Told};

/// Patience with a back end that is to be found hanging: the test waits for all of it.
pub const SHORT: Duration = Duration::from_millis(150);

/// How a call is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The answer is taken as it is.
    Well,
    /// The link is lost: the answer makes no sense.
    Nonsense,
    /// The link is lost like this.
    Lost(Loss),
    /// The link goes on.
    Refused(Errno),
}

/// What a back end does with the first request.
pub type Act = fn(&mut Conversation, &Request);

/// What is asked first.
pub type Ask = fn(&mut ThreadToken, &Link) -> Result<(), LinkError>;

pub struct Case {
    pub name: &'static str,
    pub ask: Ask,
    pub act: Act,
    pub end: End,
    /// The end comes by the link's own patience.
    pub waits: bool,
}

fn read(token: &mut ThreadToken, link: &Link) -> Result<(), LinkError> {
    let mut data = [0; 4];
    link.read(token, 0, 0, &mut data)?;
    assert_eq!(data, [7; 4], "data of an answer that was taken");
    Ok(())
}

fn write(token: &mut ThreadToken, link: &Link) -> Result<(), LinkError> {
    link.write(token, 0, 0, &[7; 4])
}

fn region(token: &mut ThreadToken, link: &Link) -> Result<(), LinkError> {
    link.region_info(token, 0).map(drop)
}

fn irq(token: &mut ThreadToken, link: &Link) -> Result<(), LinkError> {
    link.irq_info(token, 0).map(drop)
}

fn device(token: &mut ThreadToken, link: &Link) -> Result<(), LinkError> {
    link.device_info(token).map(drop)
}

fn unmap(token: &mut ThreadToken, link: &Link) -> Result<(), LinkError> {
    link.dma_unmap(token, 0, 4096)
}

fn access(count: u32, data: &[u8]) -> Vec<u8> {
    [RegionAccess { offset: 0, region: 0, count }.as_bytes(), data].concat()
}

fn good() -> Vec<u8> {
    access(4, &[7; 4])
}

/// Sends, whether or not somebody is there.
fn says(conversation: &mut Conversation, bytes: &[u8]) {
    conversation.send(bytes);
}

/// The reply with another header.
fn changed(request: &Request, payload: &[u8], change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut header = request.header.reply(payload.len());
    change(&mut header);
    [header.as_bytes(), payload].concat()
}

fn files(count: usize) -> Vec<OwnedFd> {
    (0..count).map(|_| OwnedFd::from(std::fs::File::open("/dev/null").unwrap())).collect()
}

fn with_files(conversation: &mut Conversation, bytes: &[u8], count: usize) {
    let files = files(count);
    let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
    conversation.send_with(bytes, &files);
}

/// A reply to a question about a region, with room for its capabilities.
fn about_region(info: RegionInfo, behind: &[u8]) -> Vec<u8> {
    [info.as_bytes(), behind].concat()
}

fn floods(conversation: &mut Conversation, flags: HeaderFlags) {
    let payload = [DmaAccess { address: 0, count: 4 }.as_bytes(), &[0; 4]].concat();
    let header = Header::command(1, Command::DmaWrite, payload.len(), flags);
    let command = [header.as_bytes(), &payload].concat().repeat(64);
    while conversation.send(&command) {}
}

const CASE: Case = Case { name: "", ask: read, act: |_, _| {}, end: End::Nonsense, waits: false };
const HUNG_READ: Loss = Loss::Hung { command: Command::RegionRead };

/// Every case.
pub fn all() -> Vec<Case> {
    [replies(), headers(), streams(), structures()].into_iter().flatten().collect()
}

/// Replies whose payload is wrong.
fn replies() -> Vec<Case> {
    vec![
        Case { name: "nothing is wrong", act: |c, r| says(c, &r.reply(&good())), end: End::Well, ..CASE },
        Case { name: "no payload", act: |c, r| says(c, &r.reply(&[])), ..CASE },
        Case { name: "short", act: |c, r| says(c, &r.reply(&good()[..19])), ..CASE },
        Case { name: "long", act: |c, r| says(c, &r.reply(&access(4, &[7; 5]))), ..CASE },
        Case { name: "a megabyte", act: |c, r| says(c, &r.reply(&access(4, &vec![7; 1 << 20]))), ..CASE },
        Case { name: "count", act: |c, r| says(c, &r.reply(&access(u32::MAX, &[7; 4]))), ..CASE },
        Case { name: "count of a write", ask: write, act: |c, r| says(c, &r.reply(&access(8, &[]))), ..CASE },
        Case { name: "no count of a write", ask: write, act: |c, r| says(c, &r.reply(&[])), ..CASE },
        Case { name: "short unmap", ask: unmap, act: |c, r| says(c, &r.reply(&[0; 23])), ..CASE },
        Case { name: "short device", ask: device, act: |c, r| says(c, &r.reply(&[0; 15])), ..CASE },
        Case { name: "short interrupt", ask: irq, act: |c, r| says(c, &r.reply(&[0; 15])), ..CASE },
    ]
}

/// Replies whose header is wrong.
fn headers() -> Vec<Case> {
    vec![
        Case { name: "id", act: |c, r| says(c, &changed(r, &good(), |h| h.message_id ^= 1)), ..CASE },
        Case { name: "command", act: |c, r| says(c, &changed(r, &good(), |h| h.command = 10)), ..CASE },
        Case {
            name: "unknown command",
            act: |c, r| says(c, &changed(r, &good(), |h| h.command = 999)),
            ..CASE
        },
        Case { name: "type", act: |c, r| says(c, &changed(r, &good(), |h| h.flags = 7)), ..CASE },
        Case { name: "size 8", act: |c, r| says(c, &changed(r, &good(), |h| h.size = 8)), ..CASE },
        Case { name: "size 0", act: |c, r| says(c, &changed(r, &good(), |h| h.size = 0)), ..CASE },
        Case {
            name: "size of all",
            act: |c, r| says(c, &changed(r, &good(), |h| h.size = u32::MAX)),
            ..CASE
        },
        Case {
            name: "size beyond the limit",
            act: |c, r| says(c, &changed(r, &vec![0; 2 << 20], |_| ())),
            ..CASE
        },
        Case {
            name: "refused",
            act: |c, r| says(c, &r.refusal(Errno::PERM)),
            end: End::Refused(Errno::PERM),
            ..CASE
        },
        Case {
            name: "refused without a number",
            act: |c, r| says(c, &changed(r, &[], |h| h.flags |= 0x20)),
            end: End::Refused(Errno::IO),
            ..CASE
        },
        Case {
            name: "refused, with a body",
            act: |c, r| {
                says(c, &changed(r, &good(), |h| (h.flags, h.error) = (0x21, 13)));
            },
            end: End::Refused(Errno::ACCESS),
            ..CASE
        },
    ]
}

/// Bytes and descriptors that come at the wrong time, or not.
fn streams() -> Vec<Case> {
    let partial = Case { end: End::Lost(Loss::Closed), ..CASE };
    vec![
        Case { name: "closes", end: End::Lost(Loss::Closed), ..CASE },
        Case { name: "closes in a header", act: |c, r| says(c, &r.reply(&good())[..9]), ..partial },
        Case { name: "closes in a payload", act: |c, r| says(c, &r.reply(&good())[..30]), ..partial },
        Case {
            name: "says nothing",
            act: |c, _| c.wait_for_the_end(),
            end: End::Lost(HUNG_READ),
            waits: true,
            ..CASE
        },
        Case {
            name: "says half of a header",
            act: |c, r| {
                c.send(&r.reply(&good())[..9]);
                c.wait_for_the_end();
            },
            end: End::Lost(HUNG_READ),
            waits: true,
            ..CASE
        },
        Case {
            name: "says half of a payload",
            act: |c, r| {
                c.send(&r.reply(&good())[..30]);
                c.wait_for_the_end();
            },
            end: End::Lost(HUNG_READ),
            waits: true,
            ..CASE
        },
        Case {
            name: "says it late",
            act: |c, r| {
                // The link is given up, and only then comes the answer.
                c.wait_for_the_end();
                c.send(&r.reply(&good()));
            },
            end: End::Lost(HUNG_READ),
            waits: true,
            ..CASE
        },
        Case {
            name: "one descriptor",
            act: |c, r| with_files(c, &r.reply(&good()), 1),
            end: End::Well,
            ..CASE
        },
        Case {
            name: "64 descriptors",
            act: |c, r| with_files(c, &r.reply(&good()), 64),
            end: End::Well,
            ..CASE
        },
        Case {
            name: "250 descriptors",
            act: |c, r| with_files(c, &r.reply(&good()), 250),
            end: End::Well,
            ..CASE
        },
        Case {
            name: "descriptors with every byte",
            act: |c, r| {
                for byte in r.reply(&good()) {
                    with_files(c, &[byte], 20);
                }
            },
            end: End::Well,
            ..CASE
        },
        Case { name: "a flood of commands", act: |c, _| floods(c, HeaderFlags::empty()), ..CASE },
        Case { name: "a flood of posted commands", act: |c, _| floods(c, HeaderFlags::NO_REPLY), ..CASE },
    ]
}

/// Structures whose numbers lead astray.
fn structures() -> Vec<Case> {
    let ask = region;
    vec![
        Case {
            name: "another region",
            ask,
            act: |c, r| {
                says(
                    c,
                    &r.reply(&about_region(RegionInfo { argsz: 32, index: 1, ..RegionInfo::default() }, &[])),
                )
            },
            ..CASE
        },
        Case {
            name: "another interrupt",
            ask: irq,
            act: |c, r| says(c, &r.reply(IrqInfo { argsz: 16, index: 1, ..IrqInfo::default() }.as_bytes())),
            ..CASE
        },
        Case {
            name: "all interrupts there can be",
            ask: |token, link| {
                assert_eq!(link.irq_info(token, 0)?.count, u32::MAX);
                Ok(())
            },
            act: |c, r| {
                says(c, &r.reply(IrqInfo { argsz: 16, count: u32::MAX, ..IrqInfo::default() }.as_bytes()))
            },
            end: End::Well,
            ..CASE
        },
        Case {
            name: "a region of everything",
            ask: |token, link| {
                let region = link.region_info(token, 0)?;
                assert_eq!((region.info.size, region.mappable().len()), (u64::MAX, 1));
                // The descriptor is not that long.
                region.map(&region.mappable()[0]).unwrap_err();
                Ok(())
            },
            act: |c, r| {
                let info =
                    RegionInfo { argsz: 32, flags: 7, size: u64::MAX, offset: 1, ..RegionInfo::default() };
                with_files(c, &r.reply(&about_region(info, &[])), 1);
            },
            end: End::Well,
            ..CASE
        },
        Case {
            name: "always more room",
            ask,
            act: |c, r| {
                let mut request = Some(Request { header: r.header, payload: r.payload.clone(), fds: vec![] });
                while let Some(asked) = request {
                    let argsz = asked.dword(0).saturating_mul(2);
                    let info = RegionInfo { argsz, ..RegionInfo::default() };
                    c.send(&asked.reply(&about_region(info, &[])));
                    request = c.receive();
                }
            },
            ..CASE
        },
        Case {
            name: "capabilities in a circle",
            ask,
            act: |c, r| {
                let info = RegionInfo { argsz: 64, flags: 0xb, cap_offset: 32, ..RegionInfo::default() };
                let cap = |next| CapabilityHeader { id: 9, version: 1, next };
                let caps = [cap(48).as_bytes(), &[0; 8], cap(32).as_bytes(), &[0; 8]].concat();
                c.send(&r.reply(&about_region(info, &caps)));
            },
            ..CASE
        },
        Case {
            name: "capabilities beyond the end",
            ask,
            act: |c, r| {
                let info =
                    RegionInfo { argsz: 32, flags: 0xb, cap_offset: u32::MAX, ..RegionInfo::default() };
                c.send(&r.reply(&about_region(info, &[])));
            },
            ..CASE
        },
    ]
}

/// What a back end answers to `VERSION`, and how the attempt to connect ends.
pub fn versions() -> Vec<(&'static str, Act, End)> {
    vec![
        ("no payload", |c, r| says(c, &r.reply(&[])), End::Nonsense),
        ("three bytes", |c, r| says(c, &r.reply(&[0, 0, 1])), End::Nonsense),
        ("no text", |c, r| says(c, &r.reply(&version(0, 1, ""))), End::Well),
        ("no end of text", |c, r| says(c, &r.reply(&version(0, 1, "{}"))), End::Nonsense),
        ("broken text", |c, r| says(c, &r.reply(&version(0, 1, "{\0"))), End::Nonsense),
        ("not text", |c, r| says(c, &r.reply(&[0, 0, 1, 0, 0xff, 0xfe, 0])), End::Nonsense),
        ("deep", |c, r| says(c, &r.reply(&version(0, 1, &("[".repeat(8000) + "\0")))), End::Nonsense),
        ("long", |c, r| says(c, &r.reply(&version(0, 1, &(" ".repeat(1 << 20) + "{}\0")))), End::Nonsense),
        ("major", |c, r| says(c, &r.reply(&version(1, 0, "{}\0"))), End::Nonsense),
        ("minor", |c, r| says(c, &r.reply(&version(0, 2, "{}\0"))), End::Nonsense),
        ("lower minor", |c, r| says(c, &r.reply(&version(0, 0, "{}\0"))), End::Well),
        ("refused", |c, r| says(c, &r.refusal(Errno::BUSY)), End::Refused(Errno::BUSY)),
        ("closes", |_, _| {}, End::Lost(Loss::Closed)),
        ("another command", |c, r| says(c, &changed(r, &[], |h| h.command = 2)), End::Nonsense),
        ("garbage", |c, _| says(c, &[0xff; 4096]), End::Nonsense),
        ("descriptors", |c, r| with_files(c, &r.reply(&version(0, 1, "{}\0")), 64), End::Well),
        (
            "commands",
            |c, _| {
                let command = c.command(Command::DmaRead, DmaAccess { address: 0, count: 4 }.as_bytes());
                while c.send(&command.repeat(16)) {}
            },
            End::Nonsense,
        ),
    ]
}

/// Plays a case. The back end answers what follows well, so that a link that goes on can be seen to.
#[track_caller]
pub fn play(token: &mut ThreadToken, case: &Case) {
    let act = case.act;
    let rig = Rig::negotiated(move |conversation| {
        let Some(request) = conversation.receive() else { return };
        act(conversation, &request);
        while let Some(request) = conversation.receive() {
            let reply = request.reply(&good());
            conversation.send(&reply);
        }
    });
    // "closes" must close.
    let closes = case.end == End::Lost(Loss::Closed);
    let rig = if closes { closing(act) } else { rig };
    let told = Arc::new(Told::default());
    let patience = if case.waits { SHORT } else { LONG };
    let link = rig.link_within(token, patience, &Arc::new(Memory::default()), &told).unwrap();
    let outcome = (case.ask)(token, &link);
    let lost = judge(case.name, case.end, outcome);
    match lost {
        None => {
            // In step still.
            read(token, &link).unwrap_or_else(|error| panic!("{}: {error}", case.name));
            assert_eq!(link.loss(), None, "{}", case.name);
        }
        Some(loss) => {
            assert_eq!(told.wait(), loss, "{}", case.name);
            assert_eq!(read(token, &link), Err(LinkError::Lost(loss)), "{}", case.name);
            link.cut(Loss::Cut("again"));
            assert_eq!(link.loss(), Some(loss), "{}", case.name);
        }
    }
    drop(link);
    drop(rig);
    assert_eq!(
        told.losses(),
        lost.into_iter().collect::<Vec<_>>(),
        "{}: told once, or not at all",
        case.name
    );
}

fn closing(act: Act) -> Rig {
    Rig::negotiated(move |conversation| {
        let Some(request) = conversation.receive() else { return };
        act(conversation, &request);
    })
}

/// Checks how something ended, and gives the loss.
#[track_caller]
pub fn judge(name: &str, end: End, outcome: Result<(), LinkError>) -> Option<Loss> {
    match (end, outcome) {
        (End::Well, Ok(())) => None,
        (End::Refused(errno), Err(LinkError::Refused { errno: told, .. })) if errno == told => None,
        (End::Nonsense, Err(LinkError::Lost(loss @ Loss::Nonsense(_)))) => Some(loss),
        (End::Lost(loss), Err(LinkError::Lost(found))) if loss == found => Some(loss),
        (end, outcome) => panic!("{name}: {outcome:?} instead of {end:?}"),
    }
}

/// Plays an answer to `VERSION`.
#[track_caller]
pub fn connect(token: &mut ThreadToken, name: &str, act: Act, end: End) {
    let rig = Rig::start(move |conversation| {
        let Some(request) = conversation.receive() else { return };
        act(conversation, &request);
        if end != End::Lost(Loss::Closed) {
            conversation.wait_for_the_end();
        }
    });
    let told = Arc::new(Told::default());
    let link = rig.link_within(token, LONG, &Arc::new(Memory::default()), &told);
    judge(name, end, link.map(drop));
    assert_eq!(told.losses(), [], "{name}: nobody is told of a link that never was");
}
