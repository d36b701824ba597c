//! Text in rows of a width, counted in columns of the terminal.

use unicode_segmentation::UnicodeSegmentation;
use unicode_width::UnicodeWidthStr;

/// Returns how many columns a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// Returns a text that fits, with a sign where something was left out.
pub(crate) fn cut(text: &str, room: usize) -> String {
    if text.width() <= room {
        return text.to_owned();
    }
    let (mut fits, mut used) = (String::new(), 1);
    for grapheme in text.graphemes(true) {
        used += grapheme.width();
        if used > room {
            break;
        }
        fits.push_str(grapheme);
    }
    if room > 0 {
        fits.push('…');
    }
    fits
}

/// Breaks a text into rows, between words where that is possible.
pub(crate) fn rows(text: &str, room: usize) -> Vec<String> {
    let room = room.max(2);
    let mut rows = Vec::new();
    for line in text.split('\n') {
        let (mut row, mut used) = (String::new(), 0);
        for word in line.split_word_bounds() {
            let wide = word.width();
            if used + wide > room && used > 0 {
                rows.push(std::mem::take(&mut row).trim_end().to_owned());
                used = 0;
                if word.trim().is_empty() {
                    continue;
                }
            }
            if wide <= room {
                row.push_str(word);
                used += wide;
                continue;
            }
            for grapheme in word.graphemes(true) {
                if used + grapheme.width() > room {
                    rows.push(std::mem::take(&mut row));
                    used = 0;
                }
                row.push_str(grapheme);
                used += grapheme.width();
            }
        }
        rows.push(row);
    }
    rows
}
