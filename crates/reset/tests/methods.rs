//! `reset_method`: what a written list does, against a model that keeps a plain vector (RST-03).

use proptest::prelude::*;
use reset::{ListError, ListWarning, METHOD_COUNT, Method, MethodList, Methods};

fn all(_: Method) -> bool {
    true
}

fn shown(methods: &Methods, supported: impl Fn(Method) -> bool) -> String {
    methods.list(supported).to_string()
}

#[test]
fn rst_03_the_names_in_use_are_read_separated_by_spaces() {
    let methods = Methods::default();
    assert_eq!(shown(&methods, |method| matches!(method, Method::Bus | Method::Flr)), "flr bus");
    assert_eq!(shown(&methods, all), "device_specific acpi flr af_flr pm bus cxl_bus");
}

#[test]
fn rst_03_a_written_list_sets_the_order() {
    let methods = Methods::default();
    assert_eq!(methods.write(" pm\tflr \n", |method| method != Method::DeviceSpecific), Ok(None));
    assert_eq!(shown(&methods, all), "pm flr");
}

#[test]
fn rst_03_an_empty_list_disables_all_and_default_restores() {
    let methods = Methods::default();
    assert_eq!(methods.write("\n", all), Ok(Some(ListWarning::AllDisabled)));
    assert_eq!(methods.list(all), MethodList::EMPTY);
    assert_eq!(shown(&methods, all), "");
    assert_eq!(methods.write("default\n", all), Ok(None));
    assert_eq!(methods.list(all).iter().count(), METHOD_COUNT);
}

#[test]
fn rst_03_a_refused_list_leaves_the_one_before() {
    let methods = Methods::default();
    assert_eq!(methods.write("bus flr", |method| method != Method::DeviceSpecific), Ok(None));
    assert_eq!(methods.write("flr nonsense", all), Err(ListError::Unknown));
    assert_eq!(methods.write("default flr", all), Err(ListError::Unknown));
    assert_eq!(
        methods.write("flr pm", |method| method == Method::Flr),
        Err(ListError::Unsupported(Method::Pm))
    );
    assert_eq!(methods.write(&"flr ".repeat(METHOD_COUNT + 1), all), Err(ListError::TooMany));
    assert_eq!(shown(&methods, all), "bus flr");
}

#[test]
fn rst_03_a_device_specific_reset_that_is_not_first_is_warned_of() {
    let methods = Methods::default();
    assert_eq!(methods.write("flr device_specific", all), Ok(Some(ListWarning::SpecificNotFirst)));
    assert_eq!(methods.write("flr", all), Ok(Some(ListWarning::SpecificNotFirst)));
    assert_eq!(methods.write("device_specific flr", all), Ok(None));
    assert_eq!(methods.write("flr", |method| method == Method::Flr), Ok(None));
}

/// What one write does, said again with a vector.
fn model(before: &Vec<Method>, text: &str, supported: &[Method]) -> Result<Vec<Method>, &'static str> {
    if text.trim() == "default" {
        let mut all = supported.to_vec();
        all.sort();
        all.dedup();
        return Ok(all);
    }
    let mut list = Vec::new();
    for name in text.split_whitespace() {
        let Some(method) = Method::ALL.into_iter().find(|method| method.name() == name) else {
            return Err("unknown");
        };
        if !supported.contains(&method) {
            return Err("unsupported");
        }
        if list.len() == METHOD_COUNT {
            return Err("too many");
        }
        list.push(method);
    }
    let _ = before;
    Ok(list)
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        8 => prop::sample::select(Method::ALL.to_vec()).prop_map(|method| method.name().to_owned()),
        1 => Just("default".to_owned()),
        1 => "[a-z_ ]{0,9}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    (prop::collection::vec(name(), 0..10), prop::sample::select(vec![" ", "  ", "\t", "\n"]))
        .prop_map(|(names, space)| names.join(space))
}

proptest! {
    #[test]
    fn every_sequence_of_writes_ends_as_in_the_model(
        writes in prop::collection::vec(text(), 0..12),
        supported in prop::sample::subsequence(Method::ALL.to_vec(), 0..=METHOD_COUNT),
    ) {
        let methods = Methods::default();
        let mut expected = supported.clone();
        for text in writes {
            let outcome = methods.write(&text, |method| supported.contains(&method));
            match model(&expected, &text, &supported) {
                Ok(list) => {
                    prop_assert!(outcome.is_ok());
                    expected = list;
                }
                Err(why) => prop_assert!(outcome.is_err_and(|error| error.to_string().contains(why)
                    || (why == "unknown" && error == ListError::Unknown))),
            }
            let listed: Vec<_> = methods.list(|method| supported.contains(&method)).iter().collect();
            prop_assert_eq!(&listed, &expected);
        }
    }
}
