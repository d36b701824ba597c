use super::*;

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn signature(authorization: &str) -> &str {
    authorization.rsplit_once("Signature=").unwrap().1
}

/// The general suite of AWS: everything in it is at one moment.
fn suite(method: &str, path: &str, query: &str, headers: &[(&str, &str)]) -> String {
    let scope = Scope {
        access_key: "AKIDEXAMPLE",
        secret_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        region: "us-east-1",
        service: "service",
    };
    let mut headers = headers.to_vec();
    headers.extend([("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")]);
    headers.sort_unstable();
    let request = Signed { method, path, query, headers: &headers, body: EMPTY };
    let authorization = scope.sign(&request, &Moment("20150830T123600Z".to_owned()));
    signature(&authorization).to_owned()
}

#[test]
fn the_suite_of_aws() {
    for (name, got, expected) in [
        (
            "get-vanilla",
            suite("GET", "/", "", &[]),
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
        ),
        (
            "post-vanilla",
            suite("POST", "/", "", &[]),
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
        ),
        (
            "get-vanilla-query-order-key-case",
            suite("GET", "/", "Param1=value1&Param2=value2", &[]),
            "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
        ),
        (
            "post-header-key-sort",
            suite("POST", "/", "", &[("my-header1", "value1")]),
            "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
        ),
    ] {
        assert_eq!(got, expected, "{name}");
    }
}

/// The examples of S3's own documentation.
fn s3(method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> String {
    let scope = Scope {
        access_key: "AKIAIOSFODNN7EXAMPLE",
        secret_key: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        region: "us-east-1",
        service: "s3",
    };
    let mut headers = headers.to_vec();
    headers.extend([
        ("host", "examplebucket.s3.amazonaws.com"),
        ("x-amz-content-sha256", body),
        ("x-amz-date", "20130524T000000Z"),
    ]);
    headers.sort_unstable();
    let request = Signed { method, path, query: "", headers: &headers, body };
    scope.sign(&request, &Moment("20130524T000000Z".to_owned()))
}

#[test]
fn the_examples_of_s3() {
    let get = s3("GET", "/test.txt", &[("range", "bytes=0-9")], EMPTY);
    assert_eq!(
        get,
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
         SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, \
         Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"
    );
    let body = hex::encode(sha256(b"Welcome to Amazon S3."));
    let headers =
        [("date", "Fri, 24 May 2013 00:00:00 GMT"), ("x-amz-storage-class", "REDUCED_REDUNDANCY")];
    let put = s3("PUT", &super::super::escape("/test$file.text"), &headers, &body);
    assert_eq!(signature(&put), "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
}

#[test]
fn moments_are_days_of_the_calendar() {
    for (seconds, text) in [
        (0, "19700101T000000Z"),
        (951_782_399, "20000228T235959Z"),
        (951_782_400, "20000229T000000Z"),
        (1_369_353_600, "20130524T000000Z"),
        (1_440_938_160, "20150830T123600Z"),
        (4_107_542_400, "21000301T000000Z"),
        (1_735_689_599, "20241231T235959Z"),
    ] {
        assert_eq!(Moment::new(Time::from_millis(seconds * 1000 + 999)).text(), text);
    }
}
