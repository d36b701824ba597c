use super::*;

#[test]
fn bodies_without_packing_stay_as_they_are() {
    for encoding in [None, Some(""), Some("identity"), Some(" Identity ")] {
        assert_eq!(unpack(encoding, b"x".to_vec(), 1).unwrap(), b"x");
    }
    // An answer to HEAD, and one without content.
    assert_eq!(unpack(Some("gzip"), Vec::new(), 1).unwrap(), b"");
}

#[test]
fn other_packings_were_not_asked_for() {
    for encoding in ["br", "zstd", "compress", "gzip, gzip"] {
        assert!(unpack(Some(encoding), b"x".to_vec(), 9).is_err(), "{encoding}");
    }
}
