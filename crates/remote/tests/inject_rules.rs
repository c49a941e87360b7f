//! Rules of injection as text: what is understood, what is written, and what is said of everything else.
#![allow(clippy::unwrap_used, reason = "test code")]

use std::time::Duration;

use proptest::prelude::*;
use remote::inject::{AddressRange, Fields, Kind, Place, Rule, RuleError};

fn rule(text: &str) -> Rule {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn complaint(text: &str) -> String {
    text.parse::<Rule>().unwrap_err().to_string()
}

#[test]
fn a_rule_with_everything_is_understood() {
    let text = "read-slow:delay=5ms,bar=0,range=0x0-0xfff,probability=0.1,count=100,after=1s,for=10s";
    let expected = Fields {
        delay: Some(Duration::from_millis(5)),
        place: Some(Place::Bar(0)),
        range: AddressRange::new(0, 0xfff),
        probability: Some(0.1),
        count: Some(100),
        after: Some(Duration::from_secs(1)),
        lasts: Some(Duration::from_secs(10)),
        ..Fields::of(Kind::ReadSlow)
    };
    assert_eq!(*rule(text).fields(), expected);
    assert_eq!(rule(text).to_string(), text);
}

#[test]
fn every_kind_is_read_by_its_name() {
    for kind in Kind::ALL {
        let delay = if matches!(kind, Kind::IrqDelay | Kind::ReadSlow) { ":delay=1ms" } else { "" };
        let text = format!("{kind}{delay}");
        assert_eq!(rule(&text).kind(), *kind);
        assert_eq!(rule(&text).to_string(), text);
    }
}

#[test]
fn spaces_orders_and_units_do_not_matter() {
    let same = [
        "irq-delay:delay=90s,vector=3",
        " irq-delay : vector = 3 , delay=90s ",
        "irq-delay:vector=3,delay=90s",
    ];
    for text in same {
        assert!(
            matches!(text.parse::<Rule>(), Err(RuleError::Value { option: "delay", .. })),
            "over a minute"
        );
    }
    let same = [
        "irq-delay:delay=1s,vector=3",
        " irq-delay : vector = 3 , delay=1000ms ",
        "irq-delay:vector=3,delay=1000000us",
    ];
    for text in same {
        assert_eq!(rule(text), rule(same[0]));
    }
    assert_eq!(rule("kill:every=60m").to_string(), "kill:every=1h", "in the longest unit");
    assert_eq!(rule("read-ones:config,range=16").to_string(), "read-ones:config,range=0x10-0x10");
}

/// Each says what is wrong, and what to write instead.
#[test]
fn what_is_no_rule_is_told_with_its_cause_and_its_fix() {
    let cases = [
        ("", "there is no fault \"\": they are irq-delay, irq-drop"),
        ("irq-delai:delay=1ms", "there is no fault \"irq-delai\""),
        ("irq-delay", "irq-delay needs a delay: add delay=5ms"),
        ("read-slow:bar=0", "read-slow needs a delay"),
        (
            "read-ones:delay=5ms",
            "read-ones has no delay, which goes with irq-delay and read-slow: leave it out",
        ),
        ("irq-drop:bar=0", "irq-drop has no place, which goes with reads, writes and faults of the back end"),
        ("read-ones:vector=0", "read-ones has no vector, which goes with faults of interrupts"),
        ("irq-drop:range=0-1", "irq-drop has no range"),
        ("read-ones:every=1s", "read-ones has no every"),
        ("read-ones:range=0-1", "a range counts from the start of a region: add config, bar=N or own=N"),
        ("kill:bar=0,every=1s", "with every= it happens by time: leave one of them out"),
        ("read-ones:", "there is no option \"\""),
        ("read-ones:bar=0,", "there is no option \"\""),
        ("read-ones:ba=0", "there is no option \"ba\": they are delay"),
        ("read-ones:bar", "write it as bar=0"),
        ("read-ones:config=1", "write it as config, without a value"),
        ("read-ones:bar=0,config", "a place (config, bar, own) is said twice"),
        ("irq-drop:count=1,count=2", "count is said twice: leave one out, or make two rules"),
        ("read-ones:bar=7", "bar cannot be \"7\": it is 0 to 5, or 6 for the ROM"),
        ("read-ones:bar=+1", "bar cannot be \"+1\""),
        ("read-ones:bar=0,range=5-4", "range cannot be \"5-4\": it is FIRST-LAST or one address"),
        ("read-ones:bar=0,range=0x-1", "range cannot be"),
        ("read-ones:bar=0,range=0x10000000000000000", "range cannot be"),
        ("irq-drop:probability=1.5", "probability cannot be \"1.5\": it is a number from 0 to 1"),
        ("irq-drop:probability=nan", "probability cannot be \"nan\""),
        ("irq-drop:probability=-0.1", "probability cannot be \"-0.1\""),
        ("irq-drop:count=0", "count cannot be \"0\": it is at least 1"),
        ("irq-drop:count=99999999999999999999", "count cannot be \"99999999999999999999\""),
        ("irq-delay:delay=5", "delay cannot be \"5\": it is a whole number with ns, us, ms, s, m or h"),
        ("irq-delay:delay=ms", "delay cannot be \"ms\""),
        ("irq-delay:delay=0ms", "delay cannot be \"0s\": it is more than nothing"),
        ("irq-delay:delay=61s", "delay cannot be \"61s\": it is more than nothing and at most 60s"),
        ("irq-delay:delay=18446744073709551615h", "delay cannot be"),
        ("irq-drop:for=25h", "for cannot be \"25h\""),
        ("kill:every=9ms", "every cannot be \"9ms\": it is 10ms to 24h"),
    ];
    for (text, expected) in cases {
        let said = complaint(text);
        assert!(said.contains(expected), "{text:?} says {said:?}");
        assert!(said.len() < 400, "{text:?}");
    }
}

#[test]
fn what_a_complaint_repeats_is_short_and_can_be_shown() {
    let said = complaint(&format!("x{}x", "\n".repeat(400)));
    assert!(said.contains("\\n") && said.contains("...\"") && !said.contains('\n'), "{said:?}");
    assert!(complaint("\u{1b}[31m").contains("\\u{1b}[31m"));
    let long = format!("read-ones:{}", "config,".repeat(100));
    assert!(complaint(&long).contains("at most 512 bytes"));
}

fn spans() -> impl Strategy<Value = Duration> {
    prop_oneof![
        (0_u64..120_000_000_000).prop_map(Duration::from_nanos),
        (0_u64..120_000).prop_map(Duration::from_millis),
        (0_u64..100_000).prop_map(Duration::from_secs),
    ]
}

fn fields() -> impl Strategy<Value = Fields> {
    let place =
        prop_oneof![Just(Place::Config), (0_u8..9).prop_map(Place::Bar), any::<u8>().prop_map(Place::Own)];
    let range = any::<(u64, u64)>().prop_map(|(a, b)| AddressRange::new(a.min(b), a.max(b)).unwrap());
    let some = proptest::option::of::<BoxedStrategy<Duration>>;
    (
        proptest::sample::select(Kind::ALL),
        some(spans().boxed()),
        proptest::option::of(place),
        proptest::option::of(range),
        proptest::option::weighted(0.2, any::<u16>()),
        proptest::option::of(prop_oneof![0.0..1.0, any::<f64>()]),
        proptest::option::of(any::<u64>()),
        some(spans().boxed()),
        some(spans().boxed()),
        proptest::option::weighted(0.2, spans()),
    )
        .prop_map(|(kind, delay, place, range, vector, probability, count, after, lasts, every)| {
            Fields { kind, delay, place, range, vector, probability, count, after, lasts, every }
        })
}

/// What the kind does not have is left out, so that most are rules.
fn sensible(fields: Fields) -> Fields {
    let name = fields.kind.name();
    let is_access = !name.starts_with("irq-") && fields.kind != Kind::DmaError;
    let is_back_end = matches!(fields.kind, Kind::Desync | Kind::Hang | Kind::Kill);
    let place = fields.place.filter(|_| is_access);
    let delayed = matches!(fields.kind, Kind::IrqDelay | Kind::ReadSlow);
    Fields {
        delay: delayed.then(|| fields.delay.unwrap_or(Duration::from_micros(7))),
        place,
        range: fields.range.filter(|_| place.is_some() || fields.kind == Kind::DmaError),
        vector: fields.vector.filter(|_| name.starts_with("irq-")),
        every: fields.every.filter(|_| is_back_end && place.is_none()),
        ..fields
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn what_is_written_is_read_as_the_same_rule(fields in fields()) {
        for fields in [fields, sensible(fields)] {
            if let Ok(rule) = Rule::new(fields) {
                let text = rule.to_string();
                let read: Rule = text.parse().map_err(|error| TestCaseError::fail(format!("{text}: {error}")))?;
                prop_assert_eq!(read, rule, "{}", text);
            }
        }
    }

    /// Whatever somebody writes is answered, and what is understood can be written again.
    #[test]
    fn no_text_does_harm(text in ".{0,600}") {
        if let Ok(rule) = text.parse::<Rule>() {
            prop_assert_eq!(rule.to_string().parse::<Rule>(), Ok(rule));
        }
    }

    /// The same of texts that are nearly rules.
    #[test]
    fn no_text_that_is_nearly_a_rule_does_harm(
        kind in "(irq-delay|irq-drop|read-slow|read-ones|dma-error|kill|.{0,8})",
        options in proptest::collection::vec(
            "(delay|config|bar|own|range|vector|probability|count|after|for|every|.{0,3})=?(0x)?[-+0-9a-fA-F.]{0,24}(ns|us|ms|s|m|h|e9|inf)?",
            0..8,
        ),
    ) {
        let text = format!("{kind}:{}", options.join(","));
        match text.parse::<Rule>() {
            Ok(rule) => prop_assert_eq!(rule.to_string().parse::<Rule>(), Ok(rule)),
            Err(error) => prop_assert!(error.to_string().len() < 400),
        }
    }
}

/// The generator above must make rules, or the round trip says nothing.
#[test]
fn most_sensible_fields_make_a_rule() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let made = (0..1000).filter(|_| {
        let tree = fields().new_tree(&mut runner).unwrap();
        Rule::new(sensible(proptest::strategy::ValueTree::current(&tree))).is_ok()
    });
    let made = made.count();
    assert!(made > 100, "{made} of 1000");
}
