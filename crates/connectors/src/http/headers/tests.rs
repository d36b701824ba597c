use super::*;

#[test]
fn allowed_headers_are_few() {
    for name in ["accept", "content-type", "x-api-version", "x-request-kind", "if-none-match"] {
        assert!(is_allowed(name), "{name}");
    }
    for name in [
        "host",
        "authorization",
        "cookie",
        "Accept",
        "x-forwarded-for",
        "x-real-ip",
        "x-amz-date",
        "idempotency-key",
        "transfer-encoding",
        "accept-encoding",
        "range",
    ] {
        assert!(!is_allowed(name), "{name}");
    }
}
