//! The picture is put together right, from pieces made by hand.

use super::*;
use crate::Reason;

fn holder(thread: usize, held_by: &[usize]) -> Holder {
    let named = |number: usize| Thread { number: Some(number), name: format!("t{number}") };
    let by = |number: &usize| Blocker { thread: Some(named(*number)), what: String::from("x"), since: None };
    Holder {
        thread: Some(named(thread)),
        operation: String::from("wait"),
        function: None,
        since: None,
        waits_for: None,
        held_by: held_by.iter().map(by).collect(),
        wait: Some(WaitId { thread, number: 1 }),
    }
}

fn numbers(links: Vec<&Holder>) -> Vec<Option<usize>> {
    links.into_iter().map(|link| link.thread.as_ref().and_then(|t| t.number)).collect()
}

#[test]
fn a_chain_takes_every_link_once_nearest_first_also_in_a_circle() {
    // 0 waits for 1 and 2, both wait for 3, which waits for 0.
    let holders = [holder(0, &[1, 2]), holder(1, &[3]), holder(2, &[3]), holder(3, &[0]), holder(4, &[0])];
    assert_eq!(numbers(chain(&holders, 0)), [Some(0), Some(1), Some(2), Some(3)]);
    assert_eq!(numbers(chain(&holders, 3)), [Some(3), Some(0), Some(1), Some(2)]);
    assert!(chain(&holders, 9).is_empty(), "there is no such holder");
}

#[test]
fn a_chain_does_not_go_on_through_what_only_holds() {
    let mut held = holder(1, &[2]);
    held.wait = None;
    let holders = [holder(0, &[1]), held, holder(2, &[])];
    assert_eq!(numbers(chain(&holders, 0)), [Some(0)]);
}

#[test]
fn a_closer_is_known_by_its_record_and_not_by_its_name() {
    let name: Arc<str> = Arc::from("same");
    let view = |number, name: &Arc<str>| ThreadView {
        number,
        record: 0x1000 + number,
        name: name.clone(),
        wait: None,
        inside: Vec::new(),
    };
    let threads = [view(0, &Arc::from("same")), view(1, &name)];
    let owner = |thread: &Arc<str>| {
        Some(OwnerView {
            reason: Reason::Reset,
            since: Duration::ZERO,
            thread: thread.clone(),
            parked: false,
        })
    };
    let gates = [
        GateView { address: 1, name: String::from("f"), owner: owner(&name), ..GateView::default() },
        GateView {
            address: 2,
            name: String::from("g"),
            owner: owner(&Arc::from("same")),
            ..GateView::default()
        },
    ];
    let holders = assemble(&threads, &gates);
    let shown: Vec<_> = holders.iter().map(|h| h.thread.clone().unwrap()).collect();
    let same = |number| Thread { number, name: String::from("same") };
    assert_eq!(shown, [same(Some(1)), same(None)], "the second one's thread has ended");
}
