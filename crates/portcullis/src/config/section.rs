//! Reading one TOML table with complaints that point at the right place.
//!
//! Deserialising with derive loses the place of a value inside an inline table, and the place is what an operator
//! needs. So tables are read by hand, key by key, and every complaint is collected instead of only the first.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::{Diagnostic, Source};

/// What is being read: the source and the complaints so far.
pub(super) struct Reading<'a> {
    pub(super) source: Source<'a>,
    pub(super) complaints: Vec<Diagnostic>,
}

impl Reading<'_> {
    pub(super) fn complain(
        &mut self,
        span: Range<usize>,
        message: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let position = self.source.position(span);
        self.complaints.push(Diagnostic::new(Some(position), message, fix));
    }
}

/// A value with the place it was read from.
#[derive(Clone, Debug)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) span: Range<usize>,
}

/// One table whose keys are known.
pub(super) struct Section<'t, 'i> {
    table: &'t DeTable<'i>,
    /// The place of the table, for what is missing in it.
    pub(super) span: Range<usize>,
    /// What the table is called in complaints: `slot`, `backing`.
    pub(super) name: &'static str,
}

impl<'t, 'i> Section<'t, 'i> {
    /// Opens `value` as a table and complains about every key that is not in `keys`.
    pub(super) fn open(
        reading: &mut Reading<'_>,
        value: &'t Spanned<DeValue<'i>>,
        name: &'static str,
        keys: &[&str],
        example: &str,
    ) -> Option<Self> {
        let section = Self::open_any(reading, value, name, example)?;
        Some(Self::over(reading, section.table, section.span, name, keys))
    }

    /// Opens `value` as a table whose keys are not known yet.
    pub(super) fn open_any(
        reading: &mut Reading<'_>,
        value: &'t Spanned<DeValue<'i>>,
        name: &'static str,
        example: &str,
    ) -> Option<Self> {
        let Some(table) = value.get_ref().as_table() else {
            let found = value.get_ref().type_str();
            let message = format!("`{name}` must be a table, not {}", article(found));
            reading.complain(value.span(), message, format!("write {example}"));
            return None;
        };
        Some(Self { table, span: value.span(), name })
    }

    /// As [`Section::open`] for a table that is known to be one.
    pub(super) fn over(
        reading: &mut Reading<'_>,
        table: &'t DeTable<'i>,
        span: Range<usize>,
        name: &'static str,
        keys: &[&str],
    ) -> Self {
        for (key, _) in table.iter() {
            let key_text = key.get_ref().as_ref();
            if !keys.contains(&key_text) {
                let message = format!("unknown key `{key_text}` in {name}");
                reading.complain(key.span(), message, suggestion(key_text, keys));
            }
        }
        Self { table, span, name }
    }

    pub(super) fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'i>>> {
        self.table.get(key)
    }

    /// The text under `key`, if there is one; a complaint if it is something else.
    pub(super) fn text(
        &self,
        reading: &mut Reading<'_>,
        key: &str,
        example: &str,
    ) -> Option<Placed<&'t str>> {
        let value = self.get(key)?;
        let Some(text) = value.get_ref().as_str() else {
            let message = format!("`{key}` must be a string, not {}", article(value.get_ref().type_str()));
            reading.complain(value.span(), message, format!("write {key} = \"{example}\""));
            return None;
        };
        Some(Placed { value: text, span: value.span() })
    }

    /// As [`Section::text`], with a complaint when the key is missing.
    pub(super) fn required_text(
        &self,
        reading: &mut Reading<'_>,
        key: &str,
        example: &str,
    ) -> Option<Placed<&'t str>> {
        if self.get(key).is_none() {
            let message = format!("{} has no `{key}`", self.name);
            reading.complain(self.span.clone(), message, format!("add {key} = \"{example}\""));
        }
        self.text(reading, key, example)
    }

    /// The number under `key` if it lies in `range`; a complaint if it is something else.
    pub(super) fn number(
        &self,
        reading: &mut Reading<'_>,
        key: &str,
        range: std::ops::RangeInclusive<u32>,
    ) -> Option<Placed<u32>> {
        let value = self.get(key)?;
        let Some(number) = value.get_ref().as_integer() else {
            let message =
                format!("`{key}` must be a whole number, not {}", article(value.get_ref().type_str()));
            reading.complain(value.span(), message, format!("write {key} = {}", range.end()));
            return None;
        };
        let parsed = u32::from_str_radix(number.as_str(), number.radix()).ok();
        let Some(parsed) = parsed.filter(|n| range.contains(n)) else {
            let message = format!("`{key}` is out of range");
            let fix = format!("choose a value from {} to {}", range.start(), range.end());
            reading.complain(value.span(), message, fix);
            return None;
        };
        Some(Placed { value: parsed, span: value.span() })
    }

    /// The truth value under `key`; a complaint if it is something else.
    pub(super) fn flag(&self, reading: &mut Reading<'_>, key: &str) -> Option<bool> {
        let value = self.get(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            let message =
                format!("`{key}` must be true or false, not {}", article(value.get_ref().type_str()));
            reading.complain(value.span(), message, format!("write {key} = true"));
        }
        flag
    }

    /// The choice under `key` out of `choices`; `None` if absent or, with a complaint, unknown.
    pub(super) fn choice<T: Copy>(
        &self,
        reading: &mut Reading<'_>,
        key: &str,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let example = choices.first().map_or("", |(name, _)| name);
        let text = self.text(reading, key, example)?;
        let found = choices.iter().find(|(name, _)| *name == text.value);
        if found.is_none() {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let message = format!("`{}` is not a value of `{key}`", text.value);
            reading.complain(text.span, message, suggestion(text.value, &names));
        }
        found.map(|(_, value)| *value)
    }
}

/// TOML's type names with their article.
fn article(type_name: &str) -> String {
    let article = if type_name.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {type_name}")
}

/// "did you mean" when something is near, and what there is in any case.
fn suggestion(word: &str, known: &[&str]) -> String {
    let list = known.iter().map(|k| format!("`{k}`")).collect::<Vec<_>>().join(", ");
    let near = known.iter().map(|k| (distance(word, k), k)).min().filter(|(d, _)| *d <= 2);
    match near {
        Some((_, k)) => format!("did you mean `{k}`? There is {list}"),
        None => format!("use one of {list}"),
    }
}

/// Edits between two short words (Levenshtein). Long words are never near, which also bounds the work.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(33).collect(), b.chars().take(33).collect());
    if a.len() > 32 || b.len() > 32 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replace = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
