use super::Line;

#[test]
fn letters_are_whole() {
    let mut line = Line::default();
    line.insert("aé👨‍👩‍👧z");
    line.left();
    line.backspace();
    assert_eq!(line.text(), "aéz");
    line.backspace();
    line.delete();
    assert_eq!(line.text(), "a");
    line.home();
    line.delete();
    line.delete();
    line.backspace();
    assert!(line.is_empty());
}

#[test]
fn what_joins_its_neighbour_does_not_leave_the_cursor_inside() {
    let mut line = Line::new("e");
    line.insert("\u{301}");
    line.left();
    line.insert("x");
    assert_eq!(line.text(), "xe\u{301}");
    // A mark put before a letter joins what stands before it, and the cursor stays usable.
    line.insert("\u{301}");
    line.backspace();
    line.backspace();
    line.insert("y");
}

#[test]
fn words_and_ends() {
    let mut line = Line::new("one two  three");
    line.delete_word();
    assert_eq!(line.text(), "one two  ");
    line.delete_word();
    assert_eq!(line.text(), "one ");
    line.insert("four");
    line.word_left();
    line.insert("x");
    assert_eq!(line.text(), "one xfour");
    line.word_right();
    line.insert("!");
    assert_eq!(line.text(), "one xfour!");
    line.word_left();
    line.delete_to_end();
    assert_eq!(line.text(), "one ");
    line.delete_to_start();
    assert!(line.is_empty());
}

#[test]
fn rows_break_where_the_width_ends() {
    let mut line = Line::new("abcdef");
    assert_eq!(line.rows(4), (vec!["abcd".into(), "ef".into()], 1, 2));
    line.home();
    assert_eq!(line.rows(4).1, 0);
    // A full row has its cursor on the next.
    assert_eq!(Line::new("abcd").rows(4), (vec!["abcd".into(), String::new()], 1, 0));
    assert_eq!(Line::new("日本語").rows(4).0, ["日本", "語"]);
    assert_eq!(Line::new("a\nb").rows(4), (vec!["a".into(), "b".into()], 1, 1));
    assert_eq!(Line::new("\u{1b}[2J").rows(40).0, ["\\u{1b}[2J"]);
}

#[test]
fn it_is_bounded() {
    let mut line = Line::default();
    line.insert(&"ü".repeat(40_000));
    assert_eq!(line.text().len(), 60_000);
    line.insert("more");
    assert_eq!(line.text().len(), 60_000);
}
