//! The two forms of an error that is to be injected (AER-09).

use contain::aer::{AerError, AerInjection, InjectFormatError};
use pci_core::Errno;
use pci_spec::aer::{Correctable, Uncorrectable};

fn bytes(place: [u8; 3], uncorrectable: u32, correctable: u32, domain: u32) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes[..3].copy_from_slice(&place);
    let words = [uncorrectable, correctable, 10, 11, 12, 13, domain];
    for (chunk, word) in bytes[4..].chunks_exact_mut(4).zip(words) {
        chunk.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

#[test]
fn the_structure_of_the_device_is_read() {
    let read = AerInjection::from_bytes(&bytes([1, 2, 3], 1 << 12, 1 << 6, 0x10)).unwrap();
    assert_eq!(read.at.to_string(), "0010:01:02.3");
    let error = AerError {
        correctable: Correctable::BAD_TLP,
        uncorrectable: Uncorrectable::POISONED_TLP,
        header: [10, 11, 12, 13],
    };
    assert_eq!(read.error, error);
}

#[test]
fn the_domain_may_be_missing_from_the_structure_and_nothing_else() {
    let whole = bytes([1, 0, 0], 0, 1, 0x10);
    assert_eq!(AerInjection::from_bytes(&whole[..28]).unwrap().at.to_string(), "0000:01:00.0");
    for length in [0, 27, 33, 64] {
        let refused = AerInjection::from_bytes(&vec![1; length]).unwrap_err();
        assert_eq!((refused.clone(), refused.errno()), (InjectFormatError::Length(length), Errno::EINVAL));
    }
}

#[test]
fn a_structure_that_names_no_possible_function_is_refused() {
    for (place, domain) in [([1, 32, 0], 0), ([1, 0, 8], 0), ([1, 0, 0], 0x1_0000)] {
        let refused = AerInjection::from_bytes(&bytes(place, 0, 1, domain)).unwrap_err();
        assert_eq!(refused.errno(), Errno::ENODEV, "{refused}");
    }
}

#[test]
fn a_structure_without_an_error_is_refused() {
    for (uncorrectable, correctable) in [(0, 0), (1 << 1, 0), (1 << 12, 1 << 1)] {
        let refused = AerInjection::from_bytes(&bytes([1, 0, 0], uncorrectable, correctable, 0)).unwrap_err();
        assert_eq!((refused.clone(), refused.errno()), (InjectFormatError::NoError, Errno::EINVAL));
    }
}

#[test]
fn the_text_of_the_tool_is_read_in_any_case_with_comments_and_its_short_words() {
    let text = "\
        # two errors\n\
        AER\n\
        pci_id 0002:04:00.1\n\
        COR_STATUS BAD_TLP rep_timer 0x1 # and a number\n\
        AER\n\
        DOMAIN 0x1 BUS 4 DEV 0x10 FN 7 UNCOR COMP_TIME HL 0x10 020 3 4\n";
    let read = AerInjection::parse(text).unwrap();
    assert_eq!(read.len(), 2);
    let corrected = Correctable::BAD_TLP | Correctable::REPLAY_TIMEOUT | Correctable::RECEIVER;
    assert_eq!(
        read[0],
        AerInjection { at: "0002:04:00.1".parse().unwrap(), error: AerError::correctable(corrected) }
    );
    assert_eq!(read[1].at.to_string(), "0001:04:10.7");
    assert_eq!(read[1].error, AerError::uncorrectable(Uncorrectable::COMPLETION_TIMEOUT, [16, 16, 3, 4]));
}

#[test]
fn every_word_of_the_tool_names_its_error() {
    let read = |status: &str, word: &str| {
        AerInjection::parse(&format!("AER ID 01:00.0 {status} {word}")).unwrap()[0].error
    };
    for (word, bit) in [("RCVR", 0), ("BAD_TLP", 6), ("BAD_DLLP", 7), ("REP_ROLL", 8), ("REP_TIMER", 12)] {
        assert_eq!(read("CORRECTABLE", word).correctable.bits(), 1 << bit, "{word}");
    }
    let lost = [
        ("TRAIN", 0),
        ("DLP", 4),
        ("POISON_TLP", 12),
        ("FCP", 13),
        ("COMP_TIME", 14),
        ("COMP_ABORT", 15),
        ("UNX_COMP", 16),
        ("RX_OVER", 17),
        ("MALF_TLP", 18),
        ("ECRC", 19),
        ("UNSUP", 20),
    ];
    for (word, bit) in lost {
        assert_eq!(read("UNCORRECTABLE", word).uncorrectable.bits(), 1 << bit, "{word}");
    }
}

#[test]
fn what_is_not_understood_is_refused_with_the_word() {
    let refused = |text| AerInjection::parse(text).unwrap_err();
    let word = |word: &str| InjectFormatError::Word(word.into());
    assert_eq!(refused("BUS 1"), word("BUS"), "before the first AER");
    assert_eq!(refused("AER BUS 1 BAD_TLP"), word("BAD_TLP"), "of no status");
    assert_eq!(refused("AER COR MALF_TLP"), word("MALF_TLP"), "of the other status");
    assert_eq!(refused("AER COR BAD_TLP BUS x"), word("x"));
    assert_eq!(refused("AER ID 1:2:3"), word("1:2:3"));
    assert_eq!(refused("AER COR 08"), word("08"), "no octal number");
    assert_eq!(refused("AER COR 0x"), word("0x"));
    assert_eq!(refused("AER HEADER_LOG 1 2 3"), InjectFormatError::Incomplete("HEADER_LOG".into()));
    assert_eq!(refused("AER BUS 1"), InjectFormatError::NoError);
    assert_eq!(refused("AER COR 1 BUS 256").errno(), Errno::ENODEV);
    let many = "AER COR 1 ".repeat(65);
    assert_eq!(refused(&many), InjectFormatError::TooMany);
    assert_eq!(AerInjection::parse("# nothing\n"), Ok(Vec::new()));
}
