use session_core::testing::check_codec;
use session_core::{Decode as _, DecodeError, Encode as _, Entropy as _, SeededEntropy, Text};

use super::*;

#[test]
fn names_lose_what_is_dangerous_and_keep_the_rest() {
    let long = "x".repeat(300);
    let (cut, cut_pdf) = ("x".repeat(255), format!("{}.pdf", "x".repeat(251)));
    for (given, safe) in [
        ("report.pdf", "report.pdf"),
        ("Bericht über Ölpreise – 日本.txt", "Bericht über Ölpreise – 日本.txt"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("C:\\Windows\\a.exe", "C__Windows_a.exe"),
        ("/absolute", "_absolute"),
        (".bashrc", "bashrc"),
        (". . hidden", "hidden"),
        ("trailing. . ", "trailing"),
        ("nul\0byte\nline\u{7f}", "nul_byte_line_"),
        ("fdp.exe\u{202e}gnp.txt", "fdp.exe_gnp.txt"),
        ("a*b?c\"d<e>f|g", "a_b_c_d_e_f_g"),
        ("", "file"),
        (".", "file"),
        ("..", "file"),
        (" \t ", "_"),
        (&long, &cut),
        (&format!("{long}.pdf"), &cut_pdf),
    ] {
        assert_eq!(FileName::sanitise(given).as_str(), safe, "from {given:?}");
    }
}

#[test]
fn cutting_respects_characters() {
    let name = FileName::sanitise(&"é".repeat(200));
    assert_eq!(name.as_str(), "é".repeat(127));
}

#[test]
fn cleaning_twice_changes_nothing() {
    let mut rng = SeededEntropy::new(1);
    let pool: Vec<char> = "a.b /\\:\u{202e}\n é日\u{a0}".chars().collect();
    for _ in 0..5_000 {
        let length = rng.below(300);
        let name: String =
            (0..length).map(|_| pool[rng.below(pool.len() as u64) as usize]).collect();
        let once = FileName::sanitise(&name);
        assert_eq!(FileName::sanitise(once.as_str()), once, "from {name:?}");
        assert!(!once.as_str().is_empty() && once.as_str().len() <= NAME_BYTES_MAX);
    }
}

#[test]
fn golden_bytes() {
    check_codec(&FileName::sanitise("a.txt"), "00000005 612e747874");
}

#[test]
fn an_unsafe_name_is_refused_not_repaired() {
    for name in ["../x", "", ".hidden", "a/b", "a\u{202e}b"] {
        let bytes = Text::<NAME_BYTES_MAX>::new(name).unwrap().to_bytes();
        assert_eq!(
            FileName::decode_exact(&bytes),
            Err(DecodeError::Invalid { field: "file name", why: "not safe to save under" }),
            "{name:?}"
        );
    }
    let long = Text::<300>::new("x".repeat(256)).unwrap().to_bytes();
    assert_eq!(
        FileName::decode_exact(&long),
        Err(DecodeError::OverLimit { field: "text", got: 256, limit: 255 })
    );
}
