//! A text that is being typed.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// No text that is typed or pasted becomes longer: more is sent as a file.
const BYTES_MAX: usize = 60_000;

/// The text and the place in it where the next letter goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    text: String,
    /// Always between two graphemes.
    cursor: usize,
}

impl Line {
    /// Starts with a text, the cursor behind it.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { cursor: text.len(), text }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Takes the text out.
    pub(crate) fn take(&mut self) -> String {
        self.cursor = 0;
        std::mem::take(&mut self.text)
    }

    /// Puts a text in at the cursor; what would make it too long is left out.
    pub(crate) fn insert(&mut self, text: &str) {
        // Terminals write a return where text was pasted with line ends.
        let text = text.replace("\r\n", "\n").replace('\r', "\n");
        let room = BYTES_MAX.saturating_sub(self.text.len());
        let end = text.floor_char_boundary(room);
        self.text.insert_str(self.cursor, &text[..end]);
        self.cursor += end;
        self.settle();
    }

    pub(crate) fn left(&mut self) {
        self.cursor = self.before(self.cursor);
    }

    pub(crate) fn right(&mut self) {
        self.cursor = self.after(self.cursor);
    }

    pub(crate) fn home(&mut self) {
        self.cursor = 0;
    }

    pub(crate) fn end(&mut self) {
        self.cursor = self.text.len();
    }

    pub(crate) fn word_left(&mut self) {
        self.cursor = self.word_before();
    }

    pub(crate) fn word_right(&mut self) {
        let rest = &self.text[self.cursor..];
        let word = rest.len() - rest.trim_start().len();
        let end = rest[word..].find(char::is_whitespace).unwrap_or(rest.len() - word);
        self.cursor += word + end;
    }

    /// Deletes what is before the cursor.
    pub(crate) fn backspace(&mut self) {
        self.cut(self.before(self.cursor), self.cursor);
    }

    /// Deletes what is under the cursor.
    pub(crate) fn delete(&mut self) {
        self.cut(self.cursor, self.after(self.cursor));
    }

    pub(crate) fn delete_word(&mut self) {
        self.cut(self.word_before(), self.cursor);
    }

    pub(crate) fn delete_to_start(&mut self) {
        self.cut(0, self.cursor);
    }

    pub(crate) fn delete_to_end(&mut self) {
        self.cut(self.cursor, self.text.len());
    }

    /// Lays the text out in rows of a width; returns them with the row and column of the cursor.
    pub(crate) fn rows(&self, width: usize) -> (Vec<String>, usize, usize) {
        let width = width.max(2);
        let (mut rows, mut wide) = (vec![String::new()], 0);
        let mut cursor = None;
        for (at, grapheme) in self.text.grapheme_indices(true) {
            let shown = shown(grapheme);
            let step = shown.width();
            if grapheme != "\n" && wide + step > width {
                rows.push(String::new());
                wide = 0;
            }
            if at == self.cursor {
                cursor = Some((rows.len() - 1, wide));
            }
            if grapheme == "\n" {
                rows.push(String::new());
                wide = 0;
            } else {
                rows.last_mut().expect("there is always a row").push_str(&shown);
                wide += step;
            }
        }
        if cursor.is_none() && wide >= width {
            rows.push(String::new());
            wide = 0;
        }
        let (row, column) = cursor.unwrap_or((rows.len() - 1, wide));
        (rows, row, column)
    }

    fn cut(&mut self, from: usize, to: usize) {
        self.text.replace_range(from..to, "");
        self.cursor = from;
        self.settle();
    }

    // What met at the cursor may have become one grapheme.
    fn settle(&mut self) {
        if self.text.grapheme_indices(true).all(|(at, _)| at != self.cursor) {
            self.cursor = self.after(self.cursor.saturating_sub(1));
        }
    }

    fn before(&self, place: usize) -> usize {
        self.text[..place].grapheme_indices(true).next_back().map_or(0, |(at, _)| at)
    }

    fn after(&self, place: usize) -> usize {
        let mut places = self.text.grapheme_indices(true).map(|(at, _)| at);
        places.find(|at| *at > place).unwrap_or(self.text.len())
    }

    fn word_before(&self) -> usize {
        let head = self.text[..self.cursor].trim_end();
        head.char_indices()
            .rev()
            .find(|(_, c)| c.is_whitespace())
            .map_or(0, |(at, c)| at + c.len_utf8())
    }
}

// Control characters have no width of their own: they are shown as their codes.
fn shown(grapheme: &str) -> String {
    if grapheme == "\t" { " ".to_owned() } else { crate::out::harmless(grapheme) }
}

#[cfg(test)]
mod tests;
