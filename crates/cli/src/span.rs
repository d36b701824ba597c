//! Lengths of time as people write them.

use session_core::Span;

/// Parses `10s`, `5m`, `2h` or `14d`.
pub(crate) fn parse(text: &str) -> Result<Span, String> {
    let wrong = || format!("'{text}' is not a length of time: a number and s, m, h or d");
    let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let secs = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    Ok(Span::from_secs(number.saturating_mul(secs)))
}

/// Says about how long a time is.
pub(crate) fn rough(span: Span) -> String {
    let secs = span.as_millis() / 1000;
    match secs {
        0..120 => format!("{secs} s"),
        120..7200 => format!("{} min", secs / 60),
        7200..172_800 => format!("{} h", secs / 3600),
        _ => format!("{} days", secs / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_understood_and_everything_else_is_refused() {
        assert_eq!(parse("10s"), Ok(Span::from_secs(10)));
        assert_eq!(parse("5m"), Ok(Span::from_secs(300)));
        assert_eq!(parse("2h"), Ok(Span::from_secs(7200)));
        assert_eq!(parse("14d"), Ok(Span::from_days(14)));
        for bad in ["", "d", "14", "-1d", "1 d", "1w", "é", "99999999999999999999d"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn long_times_are_told_in_large_units() {
        let told = [(0, "0 s"), (54, "54 s"), (150, "2 min"), (7200, "2 h"), (259_200, "3 days")];
        for (secs, text) in told {
            assert_eq!(rough(Span::from_secs(secs)), text);
        }
    }
}
