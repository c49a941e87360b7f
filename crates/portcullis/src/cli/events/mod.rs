//! `portcullis events`: reads the stream of events, and follows it with `-f`.
//!
//! [`arguments`] is what can be said, [`source`] where events come from, [`print`] how they are shown.

mod arguments;
mod print;
mod source;

use std::time::Duration;

use gate::Deadline;

use super::exit::{Exit, Failure};
use super::grammar::Global;
use crate::control::stream::{EventPage, StreamItem};

pub(super) use arguments::{EVENTS_HELP, Events, Since};
use print::Printer;
use source::{Patience, Source};

pub(super) fn run(global: &Global, options: Events) -> Result<(), Failure> {
    let some = options.target.is_some() || !options.kinds.is_empty();
    let mut printer = Printer::new(global.json, options.follow, some);
    let until = options.timeout.map(|seconds| Deadline::after(Duration::from_secs(seconds)));
    let (follow, wanted, mut left) = (options.follow, options.count, options.count);
    let mut source = Source::connect(global.control_socket(), options)?;
    let mut newest = None;
    loop {
        // What there is already is asked for without waiting; only a follower goes on.
        let patience = if follow && newest.is_some() { Patience::Until(until) } else { Patience::None };
        let Some(mut page) = source.next(patience)? else { break };
        let whole = take(&mut page, &mut left);
        printer.page(&page.items)?;
        let newest = *newest.get_or_insert(page.last);
        if !whole || left == Some(0) || (!follow && page.next >= newest) {
            break;
        }
        if page.ended {
            return Err(Failure::new(Exit::Unreachable, "the daemon has ended"));
        }
    }
    printer.end()?;
    match (wanted, left) {
        (Some(wanted), Some(left @ 1..)) if until.is_some_and(|until| until.remaining().is_none()) => {
            let message = format!("{} of {wanted} events came in time", wanted - left);
            Err(Failure::new(Exit::Busy, message))
        }
        _ => Ok(()),
    }
}

/// Leaves as many events in `page` as are still wanted. False if it had more.
fn take(page: &mut EventPage, left: &mut Option<u64>) -> bool {
    let Some(left) = left else { return true };
    let mut keep = 0;
    for item in &page.items {
        if *left == 0 {
            break;
        }
        keep += 1;
        *left -= u64::from(matches!(item, StreamItem::Event(_)));
    }
    let whole = keep == page.items.len();
    page.items.truncate(keep);
    whole
}
