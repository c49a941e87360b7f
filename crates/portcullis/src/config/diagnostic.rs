//! A complaint about the configuration file: where, what, and how to mend it.
//!
//! Every complaint shows the offending line, so that it can be understood without opening the file.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A place in the configuration file, kept with what was read there so that trouble found later (a busy socket,
/// a missing image) still points at its cause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// The file as the operator named it.
    pub file: Arc<Path>,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// How many characters of that line are meant; at least 1.
    pub width: usize,
    /// The whole line.
    pub text: Arc<str>,
}

/// One complaint with its remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where; `None` when no file was given (the built-in configuration).
    pub position: Option<Position>,
    /// What is wrong, lower-case, without a full stop.
    pub message: String,
    /// What to do about it.
    pub fix: String,
}

impl Diagnostic {
    /// A complaint about `position`.
    pub fn new(position: Option<Position>, message: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { position, message: message.into(), fix: fix.into() }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.position {
            let margin = at.line.to_string().len();
            writeln!(f, "{}:{}:{}: {}", at.file.display(), at.line, at.column, self.message)?;
            writeln!(f, "{:margin$} |", "")?;
            writeln!(f, "{} | {}", at.line, at.text)?;
            let indent = at.column.saturating_sub(1);
            writeln!(f, "{:margin$} | {:indent$}{}", "", "", "^".repeat(at.width.max(1)))?;
        } else {
            writeln!(f, "{}", self.message)?;
        }
        write!(f, "fix: {}", self.fix)
    }
}

/// All complaints about one file; never empty when returned as an error.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Diagnostics(pub Vec<Diagnostic>);

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{diagnostic}")?;
        }
        Ok(())
    }
}

/// The text of a configuration file, able to turn byte ranges into positions.
pub(super) struct Source<'a> {
    file: Arc<Path>,
    text: &'a str,
}

impl<'a> Source<'a> {
    pub(super) fn new(file: &Path, text: &'a str) -> Self {
        Self { file: Arc::from(PathBuf::from(file)), text }
    }

    /// The position of `span` (bytes). A span over several lines is cut at the end of its first.
    pub(super) fn position(&self, span: Range<usize>) -> Position {
        let start = self.floor(span.start);
        let end = self.floor(span.end).max(start);
        let line_start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = self.text[start..].find('\n').map_or(self.text.len(), |at| start + at);
        let line = &self.text[line_start..line_end];
        Position {
            file: Arc::clone(&self.file),
            line: self.text[..line_start].matches('\n').count() + 1,
            column: self.text[line_start..start].chars().count() + 1,
            width: self.text[start..end.min(line_end)].chars().count().max(1),
            // A tab is one column wide in the count above, so it must be one wide in the picture too.
            text: Arc::from(line.trim_end().replace('\t', " ")),
        }
    }

    /// The nearest character boundary at or before `at`.
    fn floor(&self, at: usize) -> usize {
        (0..=at.min(self.text.len())).rev().find(|&i| self.text.is_char_boundary(i)).unwrap_or(0)
    }
}
