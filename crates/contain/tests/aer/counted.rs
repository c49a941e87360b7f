//! Counters and records (AER-09).

use crate::rig::{BEHIND_SWITCH, ENDPOINT, HOT_PLUG, ROOT, Rig, SECOND, VIRTUAL};
use contain::aer::{AerError, AerFile, RECORDS_PER_FUNCTION, RootPortCounters};
use pci_spec::aer::{Correctable, Message, UNCORRECTABLE_MASK, Uncorrectable};
use pci_spec::extended::id;

const HEADER: [u32; 4] = [0x0100_0001, 2, 3, 4];

#[test]
fn corrected_errors_are_counted_by_the_names_that_linux_shows_aer_09() {
    let rig = Rig::new();
    rig.report(ENDPOINT, AerError::correctable(Correctable::RECEIVER | Correctable::BAD_DLLP)).unwrap();
    rig.report(ENDPOINT, AerError::correctable(Correctable::RECEIVER)).unwrap();
    let counters = rig.ledger.counters(rig.function(ENDPOINT).id);
    let text = counters.text(AerFile::Correctable);
    let expected = "RxErr 2\nBadTLP 0\nBadDLLP 1\nRollover 0\nTimeout 0\nNonFatalErr 0\nCorrIntErr 0\nHeaderOF 0\n\
                    TOTAL_ERR_COR 2\n";
    assert_eq!(text, expected, "the total counts messages, not errors");
}

#[test]
fn lost_transactions_are_counted_as_fatal_or_not_by_the_severity_register_aer_09() {
    let rig = Rig::new();
    rig.report(ENDPOINT, AerError::uncorrectable(Uncorrectable::POISONED_TLP, HEADER)).unwrap();
    rig.report(ENDPOINT, AerError::uncorrectable(Uncorrectable::MALFORMED_TLP, HEADER)).unwrap();
    let counters = rig.ledger.counters(rig.function(ENDPOINT).id);
    let non_zero = |file| counters.of(file).filter(|(_, count)| *count != 0).collect::<Vec<_>>();
    assert_eq!(non_zero(AerFile::NonFatal), [("TLP", 1)]);
    assert_eq!(non_zero(AerFile::Fatal), [("MalfTLP", 1)]);
    let text = counters.text(AerFile::Fatal);
    let words: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    let expected = [
        "Undefined",
        "DLP",
        "SDES",
        "TLP",
        "FCP",
        "CmpltTO",
        "CmpltAbrt",
        "UnxCmplt",
        "RxOF",
        "MalfTLP",
        "ECRC",
        "UnsupReq",
        "ACSViol",
        "UncorrIntErr",
        "BlockedTLP",
        "AtomicOpBlocked",
        "TLPBlockedErr",
        "PoisonTLPBlocked",
        "TOTAL_ERR_FATAL",
    ];
    assert_eq!(words, expected);
    assert_eq!(counters.text(AerFile::NonFatal).lines().last(), Some("TOTAL_ERR_NONFATAL 1"));
}

#[test]
fn the_files_have_linux_names_aer_09() {
    let names = AerFile::ALL.map(AerFile::name);
    assert_eq!(names, ["aer_dev_correctable", "aer_dev_nonfatal", "aer_dev_fatal"]);
}

#[test]
fn a_root_port_counts_what_comes_from_anywhere_below_and_from_itself_aer_09() {
    let rig = Rig::new();
    rig.report(BEHIND_SWITCH, AerError::correctable(Correctable::BAD_TLP)).unwrap();
    rig.report(BEHIND_SWITCH, AerError::uncorrectable(Uncorrectable::ECRC, HEADER)).unwrap();
    rig.report(HOT_PLUG, AerError::uncorrectable(Uncorrectable::DATA_LINK_PROTOCOL, HEADER)).unwrap();
    let heard = rig.ledger.root_port(rig.function(HOT_PLUG).id);
    assert_eq!(heard, RootPortCounters { correctable: 1, non_fatal: 1, fatal: 1 });
    assert_eq!(rig.ledger.root_port(rig.function(ROOT).id), RootPortCounters::default(), "another tree");
    let own = rig.ledger.counters(rig.function(HOT_PLUG).id);
    assert_eq!((own.total(AerFile::Fatal), own.total(AerFile::NonFatal)), (1, 0));
    let sources = rig.config(HOT_PLUG).root_errors().unwrap();
    assert_eq!((sources.correctable_source, sources.uncorrectable_source), (0x0400, 0x0400));
}

#[test]
fn one_report_with_errors_of_three_kinds_is_three_messages_aer_09() {
    let rig = Rig::new();
    let error = AerError {
        correctable: Correctable::BAD_TLP,
        uncorrectable: Uncorrectable::ECRC | Uncorrectable::MALFORMED_TLP | Uncorrectable::POISONED_TLP,
        header: HEADER,
    };
    rig.report(ENDPOINT, error).unwrap();
    let id = rig.function(ENDPOINT).id;
    assert_eq!(
        rig.ledger.counters(id).messages(),
        RootPortCounters { correctable: 1, non_fatal: 1, fatal: 1 }
    );
    let heard = rig.ledger.root_port(rig.function(ROOT).id);
    assert_eq!(
        heard,
        RootPortCounters { correctable: 1, non_fatal: 1, fatal: 1 },
        "all of them come to the root port"
    );
    let records = rig.ledger.records(id);
    assert_eq!((records.len(), records[0].message), (1, Message::Fatal), "remembered by the worst");
}

#[test]
fn masked_errors_are_not_counted() {
    let rig = Rig::new();
    rig.write32(ENDPOINT, id::AER, UNCORRECTABLE_MASK, Uncorrectable::ECRC.bits());
    let both = Uncorrectable::ECRC | Uncorrectable::POISONED_TLP;
    rig.report(ENDPOINT, AerError::uncorrectable(both, HEADER)).unwrap();
    let counters = rig.ledger.counters(rig.function(ENDPOINT).id);
    let counted: Vec<_> = counters.of(AerFile::NonFatal).filter(|(_, count)| *count != 0).collect();
    assert_eq!(counted, [("TLP", 1)]);
}

#[test]
fn only_the_last_errors_of_a_function_are_remembered_and_all_are_counted() {
    let rig = Rig::new();
    let many = RECORDS_PER_FUNCTION + 5;
    for n in 0..many {
        let header = [u32::try_from(n).unwrap(); 4];
        rig.report(SECOND, AerError::uncorrectable(Uncorrectable::ECRC, header)).unwrap();
    }
    let id = rig.function(SECOND).id;
    let records = rig.ledger.records(id);
    assert_eq!(
        (records.len(), records[0].header, records[15].header),
        (RECORDS_PER_FUNCTION, [5; 4], [20; 4])
    );
    assert_eq!(rig.ledger.counters(id).total(AerFile::NonFatal), 21);
    assert!(rig.ledger.records(rig.function(ENDPOINT).id).is_empty(), "each function has its own");
}

#[test]
fn of_a_function_that_has_gone_for_good_nothing_is_kept() {
    let rig = Rig::new();
    rig.report(VIRTUAL, AerError::correctable(Correctable::BAD_TLP)).unwrap();
    let id = rig.function(VIRTUAL).id;
    assert_eq!(rig.ledger.counters(id).total(AerFile::Correctable), 1);
    rig.ledger.forget(id);
    assert_eq!((rig.ledger.counters(id).total(AerFile::Correctable), rig.ledger.records(id).len()), (0, 0));
}

#[test]
fn a_record_is_told_in_one_line() {
    let rig = Rig::new();
    rig.report(ENDPOINT, AerError::uncorrectable(Uncorrectable::ECRC, HEADER)).unwrap();
    let record = rig.ledger.records(rig.function(ENDPOINT).id)[0];
    let line =
        "0000:01:00.0: Uncorrectable (Non-Fatal): ECRC, TLP header 01000001 00000002 00000003 00000004";
    assert_eq!(record.to_string(), line);
    assert_eq!((record.root_port, record.when.as_secs()), (Some(ROOT.parse().unwrap()), 7));
}
