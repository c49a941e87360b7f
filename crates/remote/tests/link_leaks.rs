//! A link leaves nothing behind, however it ends: descriptors and threads of this process are counted, so this is one test.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod rig;

#[path = "link/cases.rs"]
mod cases;

use std::sync::Arc;

use gate::ThreadToken;
use remote::link::Loss;

use rig::{Census, Plain, Rig, Told};

#[test]
fn nothing_is_left_of_a_link_however_it_ends() {
    let mut token = ThreadToken::at_thread_entry();
    // What the process makes at its first use stays for good.
    cases::play(&mut token, &cases::all()[0]);
    let before = Census::take();
    for case in cases::all() {
        cases::play(&mut token, &case);
        before.wait_until_back(case.name);
    }
    for (name, act, end) in cases::versions() {
        cases::connect(&mut token, name, act, end);
        before.wait_until_back(name);
    }
    for cut in [false, true] {
        let rig = Rig::plain();
        let link = rig.link(&mut token, &Arc::new(Told::default()));
        link.post_reset(&mut token).unwrap();
        if cut {
            link.cut(Loss::Cut("the test wants it"));
        }
        drop((link, rig));
        before.wait_until_back("a cut or a drop");
    }
    // A back end that dies with a link that is kept: the thread goes, and the descriptors with the link.
    let rig = Rig::negotiated(|conversation| drop(Plain::default().answer(conversation.receive().unwrap())));
    let told = Arc::new(Told::default());
    let link = rig.link(&mut token, &told);
    link.post_reset(&mut token).unwrap();
    assert_eq!(told.wait(), Loss::Closed);
    drop(rig);
    Census { descriptors: usize::MAX, ..before }.wait_until_back("a death");
    drop(link);
    before.wait_until_back("a link that was lost");
}
