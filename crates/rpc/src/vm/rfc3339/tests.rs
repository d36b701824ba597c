use session_core::{Entropy as _, SeededEntropy, Time};

use super::{format, parse};

#[test]
fn known_times() {
    let cases = [
        (0, "1970-01-01T00:00:00.000Z"),
        (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (1_737_676_800_000, "2025-01-24T00:00:00.000Z"),
        (4_107_542_399_999, "2100-02-28T23:59:59.999Z"),
        (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
    ];
    for (millis, text) in cases {
        assert_eq!(format(Time::from_millis(millis)), text);
        assert_eq!(parse(text), Ok(Time::from_millis(millis)));
    }
    assert_eq!(format(Time::MAX), "9999-12-31T23:59:59.999Z");
}

#[test]
fn every_day_and_random_milliseconds_are_read_back() {
    let mut entropy = SeededEntropy::new(7);
    for day in 0..80_000 {
        let mut bytes = [0; 4];
        entropy.fill(&mut bytes);
        let time =
            Time::from_millis(day * 86_400_000 + u64::from(u32::from_be_bytes(bytes)) % 86_400_000);
        assert_eq!(parse(&format(time)), Ok(time));
    }
}

#[test]
fn offsets_and_fractions() {
    let noon = parse("2026-01-23T12:00:00Z").unwrap();
    for text in
        ["2026-01-23T14:00:00+02:00", "2026-01-23t06:30:00-05:30", "2026-01-23 12:00:00.0000009z"]
    {
        assert_eq!(parse(text), Ok(noon), "{text}");
    }
    assert_eq!(parse("2026-01-23T12:00:00.5Z").unwrap().since(noon).as_millis(), 500);
}

#[test]
fn everything_else_is_refused() {
    let texts = [
        "",
        "2026",
        "2026-01-23",
        "2026-01-23T12:00:00",
        "2026-01-23T12:00:00.Z",
        "2026-02-29T00:00:00Z",
        "2026-13-01T00:00:00Z",
        "2026-00-01T00:00:00Z",
        "2026-01-00T00:00:00Z",
        "2026-01-01T24:00:00Z",
        "2026-01-01T00:60:00Z",
        "2026-01-01T00:00:60Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "2026-01-01T00:00:00+24:00",
        "2026-01-01T00:00:00Zx",
        "2026_01-01T00:00:00Z",
        "２０２６-01-01T00:00:00Z",
        "+026-01-01T00:00:00Z",
    ];
    for text in texts {
        assert!(parse(text).is_err(), "{text}");
    }
}
