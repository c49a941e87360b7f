//! What of a back end is not shown, in words for an operator.

/// Most lines that are kept: the back end decides how many there could be.
const MOST: usize = 32;

/// Lines, of bounded number.
#[derive(Clone, Debug, Default)]
pub(super) struct LeftOut {
    lines: Vec<String>,
    more: usize,
}

impl LeftOut {
    /// Adds a line, which is not even made if there are too many.
    pub(super) fn add(&mut self, line: impl FnOnce() -> String) {
        if self.lines.len() < MOST {
            self.lines.push(line());
        } else {
            self.more += 1;
        }
    }

    /// All of them, the last of which says how many there are besides.
    pub(super) fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.lines.push(format!("and {} more", self.more));
        }
        self.lines
    }
}
