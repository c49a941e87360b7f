//! Back ends that are not what the guest knows.

use models::nvme::elsewhere::Elsewhere;
use models::nvme::{BlockSize, Config};
use nvme_spec::{NvmOpcode, Status};
use remote::fence::{Fenced, How};
use remote::nvme::{BringUpError, Difference};

use super::back_end::{BackEnd, DISK, Home, config};
use super::guest::Guest;

const OVER: Fenced = Fenced::Over(How::Server);

/// A command under way, a death, another back end; then one that is right.
fn differs(start: impl FnOnce(&Home) -> BackEnd) -> Vec<Difference> {
    let mut guest = Guest::new(&config(), -1);
    let entry = guest.entry(0, NvmOpcode::Write, 0);
    assert!(guest.driver.submit(1, 0, &entry));
    guest.kill();
    let other = start(&guest.home);
    guest.serve(other);
    let error = guest.bring_up(-1, OVER).unwrap_err();
    assert!(error.is_permanent(), "{error}");
    guest.round();
    assert!(guest.answers.is_empty(), "nothing was given to it, and nothing is lost");
    guest.wire.link().cut(remote::link::Loss::Cut("it is another one"));
    guest.kill();
    let right = guest.home.start(&config());
    guest.serve(right);
    assert_eq!(guest.bring_up(-1, OVER).unwrap().re_executed, 1);
    guest.run(&mut Vec::new());
    assert_eq!(guest.answer(0), Status::SUCCESS);
    match error {
        BringUpError::Differs(list) => list,
        other => panic!("{other}"),
    }
}

#[test]
fn another_model_or_serial_number_is_refused() {
    let found = differs(|home| home.start(&Config { model: "Other".into(), ..config() }));
    assert!(matches!(&found[..], [Difference::Model { now, .. }] if now == "Other"), "{found:?}");
    let found = differs(|home| home.start(&Config { serial: Some("OTHER".into()), ..config() }));
    assert!(found.iter().any(|one| matches!(one, Difference::Serial { .. })), "{found:?}");
}

#[test]
fn a_smaller_namespace_is_refused() {
    let found = differs(|home| home.start_on(&config(), "small", DISK / 2));
    let expected = Difference::NamespaceSize { nsid: 1, was: DISK / 512, now: DISK / 1024 };
    assert!(found.contains(&expected), "{found:?}");
}

#[test]
fn another_block_format_is_refused() {
    let found = differs(|home| home.start(&Config { block_size: BlockSize::B4096, ..config() }));
    assert!(found.contains(&Difference::NamespaceFormat { nsid: 1 }), "{found:?}");
}

#[test]
fn a_larger_namespace_is_accepted() {
    let mut guest = Guest::new(&config(), -1);
    guest.kill();
    let larger = guest.home.start_on(&config(), "large", 2 * DISK);
    guest.serve(larger);
    guest.bring_up(-1, OVER).unwrap();
}
