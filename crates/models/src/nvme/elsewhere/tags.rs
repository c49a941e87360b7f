//! Which command has which tag, and how it stands. Values only; the memory of all tags is taken once.
//!
//! ```text
//! Free --take--> Kept --sent--> Sent --finish--> Done --pop_done--> Free
//!                  \--cancel--------------------> Done
//! Sent --abandon--> Abandoned --finish, or all is settled--> Free      (Kept, Done --abandon--> Free)
//! ```
//! A tag that comes back in any other state is a stray: nothing changes.

use std::collections::VecDeque;

use nvme_spec::Status;

use super::super::slots::Origin;

/// Tags there are: commands that are elsewhere at once, at most. More stay in their submission queues.
pub const TAGS: usize = 1024;
/// Tags that I/O commands leave to admin commands and to the flush of a shutdown.
const RESERVE: usize = 32;

/// Whose a tag is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Command {
    pub(in super::super) origin: Origin,
    /// The log page that it reads, if events are to be reported again once the host has it.
    pub(in super::super) log: Option<u8>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) struct Ended {
    pub(in super::super) command: Command,
    pub(in super::super) dw0: u32,
    pub(in super::super) status: Status,
}

/// Whose a tag was that has come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Returned {
    /// A command's; its outcome waits to be posted.
    Command,
    /// That of the controller's own flush, whose tag is free.
    Shutdown,
    /// Nobody's any more: it was abandoned.
    Abandoned,
    /// It was not away.
    Stray,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stand {
    Free,
    /// Taken, and not with the back end yet.
    Kept,
    Sent,
    Done,
    Abandoned,
}

#[derive(Clone, Copy, Debug)]
struct Tag {
    stand: Stand,
    command: Command,
    dw0: u32,
    status: Status,
}

/// All tags of a controller.
#[derive(Debug)]
pub(in super::super) struct Tags {
    tags: Vec<Tag>,
    free: Vec<u16>,
    /// Tags whose outcome is to be posted, oldest first.
    done: VecDeque<u16>,
    abandoned: usize,
}

impl Tags {
    pub(in super::super) fn new() -> Self {
        let command = Command { origin: Origin::Shutdown, log: None };
        let tag = Tag { stand: Stand::Free, command, dw0: 0, status: Status::SUCCESS };
        #[expect(clippy::cast_possible_truncation, reason = "1,024")]
        let free = (0..TAGS as u16).rev().collect();
        Self { tags: vec![tag; TAGS], free, done: VecDeque::with_capacity(TAGS), abandoned: 0 }
    }

    /// Commands that have a tag and are not abandoned.
    pub(in super::super) fn busy(&self) -> usize {
        TAGS - self.free.len() - self.abandoned
    }

    /// Whether an outcome waits to be posted.
    pub(in super::super) fn has_done(&self) -> bool {
        !self.done.is_empty()
    }

    /// Whether there is a tag for one more command.
    #[inline]
    pub(in super::super) fn has_room(&self, admin: bool) -> bool {
        self.free.len() > if admin { 0 } else { RESERVE }
    }

    /// A tag for a command that is not with the back end yet.
    #[inline]
    pub(in super::super) fn take(&mut self, command: Command) -> Option<u16> {
        let index = self.free.pop()?;
        let tag = self.tags.get_mut(usize::from(index))?;
        (tag.stand, tag.command) = (Stand::Kept, command);
        Some(index)
    }

    /// The command went to the back end.
    #[inline]
    pub(in super::super) fn sent(&mut self, index: u16) {
        if let Some(tag) = self.tags.get_mut(usize::from(index)) {
            tag.stand = Stand::Sent;
        }
    }

    /// A tag has come back.
    #[inline]
    pub(in super::super) fn finish(&mut self, index: u16, dw0: u32, status: Status) -> Returned {
        let Some(tag) = self.tags.get_mut(usize::from(index)) else { return Returned::Stray };
        match tag.stand {
            Stand::Sent if tag.command.origin == Origin::Shutdown => {
                tag.stand = Stand::Free;
                self.free.push(index);
                Returned::Shutdown
            }
            Stand::Sent => {
                (tag.stand, tag.dw0, tag.status) = (Stand::Done, dw0, status);
                self.done.push_back(index);
                Returned::Command
            }
            Stand::Abandoned => {
                tag.stand = Stand::Free;
                self.abandoned -= 1;
                self.free.push(index);
                Returned::Abandoned
            }
            Stand::Free | Stand::Kept | Stand::Done => Returned::Stray,
        }
    }

    /// A command that never went to the back end is answered with `status`. False: it is not one of those.
    pub(in super::super) fn cancel(&mut self, index: u16, status: Status) -> bool {
        let Some(tag) = self.tags.get_mut(usize::from(index)) else { return false };
        let kept = tag.stand == Stand::Kept;
        if kept {
            (tag.stand, tag.dw0, tag.status) = (Stand::Done, 0, status);
            self.done.push_back(index);
        }
        kept
    }

    /// Whether it is the tag of a command of the guest.
    pub(in super::super) fn is_of_a_queue(&self, index: u16) -> bool {
        self.tags.get(usize::from(index)).is_some_and(|tag| tag.command.origin != Origin::Shutdown)
    }

    /// Takes the oldest outcome; its tag is free.
    #[inline]
    pub(in super::super) fn pop_done(&mut self) -> Option<Ended> {
        let index = self.done.pop_front()?;
        let tag = self.tags.get_mut(usize::from(index))?;
        tag.stand = Stand::Free;
        let Tag { command, dw0, status, .. } = *tag;
        self.free.push(index);
        Some(Ended { command, dw0, status })
    }

    /// No command is anybody's any more: what is with the back end keeps its tag until it has come back.
    pub(in super::super) fn abandon(&mut self) {
        self.done.clear();
        for (index, tag) in (0..).zip(&mut self.tags) {
            match tag.stand {
                Stand::Sent => {
                    tag.stand = Stand::Abandoned;
                    self.abandoned += 1;
                }
                Stand::Kept | Stand::Done => {
                    tag.stand = Stand::Free;
                    self.free.push(index);
                }
                Stand::Free | Stand::Abandoned => {}
            }
        }
    }

    /// What was abandoned and has not come back never will.
    pub(in super::super) fn forget_abandoned(&mut self) {
        if self.abandoned == 0 {
            return;
        }
        for (index, tag) in (0..).zip(&mut self.tags) {
            if tag.stand == Stand::Abandoned {
                tag.stand = Stand::Free;
                self.free.push(index);
            }
        }
        self.abandoned = 0;
    }

    /// The tags that are taken and not abandoned, and whose they are.
    pub(in super::super) fn outstanding(&self) -> impl Iterator<Item = (u16, Origin)> {
        let taken = |stand: Stand| matches!(stand, Stand::Kept | Stand::Sent | Stand::Done);
        (0..)
            .zip(&self.tags)
            .filter(move |(_, tag)| taken(tag.stand))
            .map(|(index, tag)| (index, tag.command.origin))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn command(cid: u16) -> Command {
        Command { origin: Origin::Command { sq: 1, cid }, log: None }
    }

    fn sent(tags: &mut Tags, cid: u16) -> u16 {
        let tag = tags.take(command(cid)).unwrap();
        tags.sent(tag);
        tag
    }

    #[test]
    fn io_leaves_tags_for_admin_commands() {
        let mut tags = Tags::new();
        while tags.has_room(false) {
            sent(&mut tags, 0);
        }
        assert_eq!(tags.busy(), TAGS - RESERVE);
        while tags.has_room(true) {
            sent(&mut tags, 0);
        }
        assert_eq!((tags.busy(), tags.take(command(0))), (TAGS, None));
    }

    #[test]
    fn a_tag_that_is_not_away_is_a_stray_whatever_its_number() {
        let mut tags = Tags::new();
        let tag = sent(&mut tags, 3);
        let kept = tags.take(command(4)).unwrap();
        let ended = Status::SUCCESS;
        for stray in [kept, tag + 2, 1023, 1024, u16::MAX] {
            assert_eq!(tags.finish(stray, 0, ended), Returned::Stray, "{stray}");
        }
        assert_eq!(tags.finish(tag, 9, ended), Returned::Command);
        assert_eq!(tags.finish(tag, 9, ended), Returned::Stray, "a second time");
        assert_eq!(tags.pop_done(), Some(Ended { command: command(3), dw0: 9, status: ended }));
        assert_eq!(tags.finish(tag, 9, ended), Returned::Stray, "after it was answered");
    }

    #[test]
    fn what_was_abandoned_is_nobodys_and_its_tag_is_taken_until_it_is_back_or_settled() {
        let mut tags = Tags::new();
        let (one, two) = (sent(&mut tags, 1), sent(&mut tags, 2));
        let _kept = tags.take(command(3));
        tags.abandon();
        assert_eq!((tags.busy(), tags.outstanding().count()), (0, 0));
        let new = sent(&mut tags, 4);
        assert!(new != one && new != two);
        assert_eq!(tags.finish(one, 0, Status::SUCCESS), Returned::Abandoned);
        assert_eq!(tags.finish(one, 0, Status::SUCCESS), Returned::Stray);
        tags.forget_abandoned();
        assert_eq!(tags.finish(two, 0, Status::SUCCESS), Returned::Stray);
        assert_eq!(tags.finish(new, 0, Status::SUCCESS), Returned::Command);
        assert_eq!((tags.busy(), tags.free.len()), (1, TAGS - 1));
    }

    proptest! {
        #[test]
        fn every_command_ends_once_and_no_tag_has_two(steps in proptest::collection::vec((0..7_u8, any::<u16>()), 1..400)) {
            let mut tags = Tags::new();
            // Who has a tag, as a map says it.
            let mut away: HashMap<u16, u16> = HashMap::new();
            let mut abandoned: Vec<u16> = Vec::new();
            let mut ended: Vec<u16> = Vec::new();
            let mut next = 0;
            for (step, which) in steps {
                match step {
                    0..3 => {
                        let tag = sent(&mut tags, next);
                        prop_assert!(away.insert(tag, next).is_none() && !abandoned.contains(&tag));
                        next += 1;
                    }
                    3 | 4 => {
                        let known = abandoned.iter().chain(away.keys()).copied().collect::<Vec<_>>();
                        let tag = if known.is_empty() { which } else { known[usize::from(which) % known.len()] };
                        let returned = tags.finish(tag, 0, Status::SUCCESS);
                        if let Some(cid) = away.remove(&tag) {
                            prop_assert_eq!(returned, Returned::Command);
                            ended.push(cid);
                        } else if abandoned.contains(&tag) {
                            prop_assert_eq!(returned, Returned::Abandoned);
                            abandoned.retain(|other| *other != tag);
                        } else {
                            prop_assert_eq!(returned, Returned::Stray);
                        }
                    }
                    5 => {
                        let posted = std::iter::from_fn(|| tags.pop_done()).map(|ended| ended.command);
                        let posted: Vec<Command> = posted.collect();
                        prop_assert_eq!(posted, ended.drain(..).map(command).collect::<Vec<_>>());
                    }
                    _ if which % 8 == 0 => {
                        tags.abandon();
                        abandoned.extend(away.drain().map(|(tag, _)| tag));
                        ended.clear();
                    }
                    _ if which % 8 == 1 => {
                        tags.forget_abandoned();
                        abandoned.clear();
                    }
                    _ => {}
                }
                prop_assert_eq!(tags.busy(), away.len() + ended.len());
                prop_assert_eq!(tags.free.len(), TAGS - away.len() - ended.len() - abandoned.len());
            }
        }
    }
}
