//! What text of others may do to a screen, and whom it may pretend to be.

/// Tells whether a character steers what shows it, or shows other text than there is: controls, ends
/// of lines, marks that turn the direction of writing.
#[must_use]
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}'
            | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Tells whether somebody may be shown under a name that he gave himself: it is one line, and not
/// how programs call whoever looks at them.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let letters = name.chars().filter(|c| c.is_alphanumeric());
    let plain: String = letters.flat_map(char::to_lowercase).collect();
    !name.trim().is_empty() && !name.contains(steers) && plain != "you"
}

#[cfg(test)]
mod tests {
    use super::is_name;

    #[test]
    fn nobody_is_called_you_or_over_several_lines() {
        for name in ["Bob", "Zoë van 't Hof", "علي", "young", "👍"] {
            assert!(is_name(name), "{name:?}");
        }
        for name in ["", " ", "you", " You! ", "y\u{200b}ou", "a\nb", "a\u{1b}[2J", "a\u{202e}b"] {
            assert!(!is_name(name), "{name:?}");
        }
        for mark in ['\u{61c}', '\u{2028}', '\u{2029}', '\u{2067}', '\u{7f}', '\u{9b}'] {
            assert!(!is_name(&format!("a{mark}b")), "{mark:?}");
        }
    }
}
