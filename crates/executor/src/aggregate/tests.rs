use core::cmp::Ordering;

use session_core::committee::quorum;
use session_core::{Blob, Entropy, List, NodeId, SeededEntropy, Text, Time};
use session_crypto::Signature;
use session_protocol::workload::manifest::{Aggregation, FieldRule, Rule, Source};
use session_protocol::workload::oracle::{Fault, Pin};
use session_protocol::workload::{Observation, OracleResult, SignedRecord, file};

use super::decimal::Decimal;
use super::{decide, hopeless};

fn source(aggregation: Aggregation) -> Source {
    let text = "name = \"test\"
        [[source]]
        name = \"one\"
        kind = \"object-get\"
        store = \"s\"
        key = \"k\"";
    let mut source = file::parse(text).unwrap().sources[0].clone();
    source.aggregation = aggregation;
    source
}

fn record(member: u8, observation: Observation) -> SignedRecord {
    SignedRecord {
        submitter: NodeId::from([member; 32]),
        pin: None,
        time: Time::ZERO,
        observation,
        signature: Signature::from([0; session_crypto::dsa::SIGNATURE_SIZE]),
    }
}

fn value(text: &[u8]) -> Observation {
    Observation::Value { bytes: Blob::new(text).unwrap() }
}

fn saw(answers: &[&str]) -> Vec<SignedRecord> {
    let answers = answers.iter().zip(1_u8..);
    answers
        .map(|(answer, member)| match *answer {
            "!timeout" => record(member, Observation::Failed { fault: Fault::Timeout }),
            "!denied" => record(member, Observation::Failed { fault: Fault::Denied }),
            other => record(member, value(other.as_bytes())),
        })
        .collect()
}

/// What four members make of it; the same in every order.
fn four(aggregation: Aggregation, answers: &[&str]) -> Option<String> {
    of(&source(aggregation), 4, answers)
}

fn of(source: &Source, members: usize, answers: &[&str]) -> Option<String> {
    let records = saw(answers);
    let refs: Vec<&SignedRecord> = records.iter().collect();
    let decided = decide(source, members, &refs);
    let mut rng = SeededEntropy::new(1);
    for _ in 0..20 {
        assert_eq!(decide(source, members, &shuffled(&refs, &mut rng)), decided);
    }
    decided.map(|result| match result {
        OracleResult::Value { bytes } => String::from_utf8(bytes.to_vec()).unwrap(),
        OracleResult::Failed { fault } => format!("!{fault}"),
        OracleResult::NoConsensus => panic!("only a round gives up"),
    })
}

fn shuffled<'a>(records: &[&'a SignedRecord], rng: &mut SeededEntropy) -> Vec<&'a SignedRecord> {
    let mut records = records.to_vec();
    for index in (1..records.len()).rev() {
        records.swap(index, rng.below(index as u64 + 1) as usize);
    }
    records
}

fn median(field: &str) -> Aggregation {
    Aggregation::Median { field: Text::new(field).unwrap() }
}

fn by_fields(rules: &[(&str, Rule)]) -> Aggregation {
    let rule =
        |(field, rule): &(&str, Rule)| FieldRule { field: Text::new(*field).unwrap(), rule: *rule };
    Aggregation::ByFields { rules: List::new(rules.iter().map(rule).collect::<Vec<_>>()).unwrap() }
}

#[test]
fn identical_needs_a_quorum_of_the_same() {
    let identical = |answers: &[&str]| four(Aggregation::Identical, answers);
    assert_eq!(identical(&["a", "a", "a"]).unwrap(), "a");
    assert_eq!(identical(&["a", "b", "a", "a"]).unwrap(), "a");
    assert_eq!(identical(&["a", "b", "a", "b"]), None);
    assert_eq!(identical(&["a", "a"]), None);
    assert_eq!(identical(&["1.0", "1", "1.00", "1"]), None, "byte for byte");
    assert_eq!(identical(&["", "", ""]).unwrap(), "");
}

#[test]
fn equal_failures_of_a_quorum_are_a_result() {
    for aggregation in [Aggregation::Identical, median(""), Aggregation::KOfN { k: 1 }] {
        let seen = four(aggregation.clone(), &["!timeout", "!timeout", "1", "!timeout"]);
        assert_eq!(seen.unwrap(), "!it took too long");
        assert_eq!(four(aggregation, &["!timeout", "!timeout", "!denied", "!denied"]), None);
    }
}

#[test]
fn medians_are_exact_and_low() {
    let middle = |answers: &[&str]| four(median(""), answers);
    assert_eq!(middle(&["3", "1", "2"]).unwrap(), "2");
    assert_eq!(middle(&["3", "1", "2", "4"]).unwrap(), "2");
    assert_eq!(middle(&["1", "2"]), None);
    assert_eq!(middle(&["1", "2", "x"]), None);
    assert_eq!(middle(&["1", "2", "x", "3"]).unwrap(), "2");
    assert_eq!(middle(&["\"1.10\"", "1.2", "0.000"]).unwrap(), "1.1");
    let close = ["0.30000000000000000001", "0.30000000000000000002", "0.30000000000000000003"];
    assert_eq!(middle(&close).unwrap(), close[1]);
    assert_eq!(middle(&["-1e3", "-1000.0", "-1000"]).unwrap(), "-1000");
    assert_eq!(middle(&[" 7\n", "7", "7"]).unwrap(), "7");
    let object = |price: &str| format!(r#"{{"data":{{"price":{price}}}}}"#);
    let objects: Vec<String> = ["3", "\"1\"", "2"].map(object).into();
    let objects: Vec<&str> = objects.iter().map(String::as_str).collect();
    assert_eq!(four(median("$.data.price"), &objects).unwrap(), "2");
    assert_eq!(four(median("$.data.gone"), &objects), None);
}

#[test]
fn mode_needs_more_than_the_liars() {
    let mode = |answers: &[&str]| four(Aggregation::Mode, answers);
    assert_eq!(mode(&["b", "b", "a"]).unwrap(), "b");
    assert_eq!(mode(&["b", "b", "a", "a"]).unwrap(), "a", "the smallest of several");
    assert_eq!(mode(&["a", "b", "c", "d"]), None, "one alone may be a liar");
    assert_eq!(mode(&["a", "a"]), None, "a quorum must have looked");
}

#[test]
fn fields_have_rules_of_their_own() {
    let rules =
        by_fields(&[("price", Rule::Median), ("pair", Rule::Identical), ("venue", Rule::Mode)]);
    let seen = [
        r#"{"price":1.5,"pair":"X","venue":"b","more":1}"#,
        r#"{"venue":"b","price":"2.50","pair":"X"}"#,
        r#"{"price":9,"pair":"X","venue":"c"}"#,
    ];
    let expected = r#"{"pair":"X","price":2.5,"venue":"b"}"#;
    assert_eq!(four(rules.clone(), &seen).unwrap(), expected);
    let with_liar = [seen[0], seen[1], seen[2], "not json"];
    assert_eq!(four(rules.clone(), &with_liar).unwrap(), expected);
    let without = [seen[0], seen[1], r#"{"price":9,"venue":"c"}"#];
    assert_eq!(four(rules.clone(), &without), None, "a quorum has no pair");
    assert_eq!(four(rules, &["1", "2", "3"]), None);
}

#[test]
fn k_of_n_lists_all_answers() {
    let list = |k, answers: &[&str]| four(Aggregation::KOfN { k }, answers);
    assert_eq!(list(1, &["b", "a", "b"]).unwrap(), r#"["a","b","b"]"#);
    assert_eq!(list(4, &["b", "a", "b"]), None);
    assert_eq!(list(1, &["b", "a"]), None, "never fewer than a quorum");
    let mut source = source(Aggregation::KOfN { k: 1 });
    let records = [vec![0xff], b"2".to_vec(), b"1".to_vec()]
        .iter()
        .zip(1_u8..)
        .map(|(bytes, member)| record(member, value(bytes)))
        .collect::<Vec<_>>();
    let refs: Vec<&SignedRecord> = records.iter().collect();
    let Some(OracleResult::Value { bytes }) = decide(&source, 4, &refs) else { panic!("agreed") };
    assert_eq!(&*bytes, br#"["1","2",{"base64":"/w=="}]"#);
    source.transform.paths = List::new([Text::new("$").unwrap()]).unwrap();
    assert_eq!(of(&source, 4, &["2", "1", "[3]"]).unwrap(), "[1,2,[3]]");
    let long = "x".repeat(20_000);
    assert_eq!(list(1, &[&long, &long, "a"]).unwrap(), format!("!{}", Fault::TooLarge));
}

#[test]
fn single_is_one_record() {
    let single = |answers: &[&str]| four(Aggregation::Single, answers);
    assert_eq!(single(&["a"]).unwrap(), "a");
    assert_eq!(single(&["!denied"]).unwrap(), format!("!{}", Fault::Denied));
    assert_eq!(single(&["a", "a"]), None);
    assert_eq!(single(&[]), None);
}

#[test]
fn a_source_may_want_more_records_than_a_quorum() {
    let mut source = source(Aggregation::Identical);
    source.records_min = 4;
    assert_eq!(of(&source, 4, &["a", "a", "a"]), None);
    assert_eq!(of(&source, 4, &["a", "a", "a", "b"]).unwrap(), "a");
    source.records_min = 5;
    let records = saw(&["a", "a"]);
    let refs: Vec<&SignedRecord> = records.iter().collect();
    assert!(hopeless(&source, 4, &refs, 2) && !hopeless(&source, 7, &refs, 5));
    source.records_min = 1;
    assert_eq!(of(&source, 4, &["a", "a"]), None, "it cannot want less");
}

#[test]
fn one_member_has_one_voice() {
    let twice: Vec<SignedRecord> = [1, 1, 2].map(|member| record(member, value(b"a"))).into();
    let refs: Vec<&SignedRecord> = twice.iter().collect();
    assert_eq!(decide(&source(Aggregation::Identical), 4, &refs), None);
}

#[test]
fn only_what_was_seen_at_one_block_counts() {
    let text = "name = \"t\"
        [[egress]]
        host = \"e.org\"
        [[source]]
        name = \"b\"
        kind = \"evm\"
        url = \"https://e.org/\"
        query = \"block\"";
    let source = file::parse(text).unwrap().sources[0].clone();
    let mut records = saw(&["a", "a", "a", "a"]);
    for (record, number) in records.iter_mut().zip([7, 8, 7, 7]) {
        record.pin = Some(Pin { number, hash: [0; 32] });
    }
    let refs: Vec<&SignedRecord> = records.iter().collect();
    let agreed = OracleResult::Value { bytes: Blob::new(*b"a").unwrap() };
    assert_eq!(decide(&source, 4, &refs), Some(agreed));
    assert_eq!(decide(&source, 4, &refs[..3]), None);
}

fn aggregations() -> Vec<Aggregation> {
    vec![
        Aggregation::Identical,
        median(""),
        median("$.p"),
        Aggregation::Mode,
        by_fields(&[("p", Rule::Median), ("q", Rule::Identical)]),
        by_fields(&[("p", Rule::Mode)]),
        Aggregation::KOfN { k: 3 },
        Aggregation::Single,
    ]
}

fn random_answer(rng: &mut SeededEntropy) -> &'static str {
    const ANSWERS: [&str; 9] = [
        "1",
        "2",
        "x",
        "!timeout",
        "!denied",
        r#"{"p":1,"q":"a"}"#,
        r#"{"p":2,"q":"a"}"#,
        r#"{"p":"3"}"#,
        "1.0",
    ];
    ANSWERS[rng.below(ANSWERS.len() as u64) as usize]
}

/// Whoever is told that it is hopeless loses nothing: no further answers bring agreement.
#[test]
fn hopeless_means_that_no_answers_help() {
    let mut rng = SeededEntropy::new(2);
    let (mut given_up, mut decided) = (0, 0);
    for round in 0..20_000 {
        let source = source(aggregations()[round % aggregations().len()].clone());
        let members = [4, 7][rng.below(2) as usize];
        let known = rng.below(members + 1);
        let all: Vec<&str> = (0..members).map(|_| random_answer(&mut rng)).collect();
        let records = saw(&all);
        let refs: Vec<&SignedRecord> = records.iter().collect();
        let (early, members) = (&refs[..known as usize], members as usize);
        let missing = members - early.len();
        let hopeless = hopeless(&source, members, early, missing);
        if decide(&source, members, early).is_some() {
            assert!(!hopeless);
            decided += 1;
        }
        if hopeless {
            given_up += 1;
            for end in known as usize..=members {
                let late = decide(&source, members, &refs[..end]);
                assert_eq!(late, None, "{:?} of {all:?} after {known}", source.aggregation);
            }
        }
    }
    assert!(given_up > 1000 && decided > 500, "{given_up} given up, {decided} decided");
}

/// Where only votes count, it is given up at once: with the same answers missing, it is possible.
#[test]
fn nothing_is_given_up_late() {
    let source = source(Aggregation::Identical);
    let mut rng = SeededEntropy::new(3);
    for _ in 0..2000 {
        let known = rng.below(5);
        let all: Vec<&str> = (0..known).map(|_| random_answer(&mut rng)).collect();
        let possible = ["1", "2", "x", "!timeout", "!denied", "1.0"]
            .into_iter()
            .chain(all.iter().copied())
            .any(|rest| {
                let mut all = all.clone();
                all.resize(4, rest);
                of(&source, 4, &all).is_some()
            });
        let records = saw(&all);
        let refs: Vec<&SignedRecord> = records.iter().collect();
        assert_eq!(hopeless(&source, 4, &refs, 4 - all.len()), !possible, "{all:?}");
    }
}

/// With f liars of n, whoever proposes and whichever quorum answered: a median is between what
/// honest members saw, and what is identical was seen by one of them.
#[test]
fn liars_cannot_move_a_result_out_of_what_honest_members_saw() {
    let mut rng = SeededEntropy::new(5);
    for round in 0..3000 {
        let members = [4_usize, 7, 10, 21][round % 4];
        let liars = (members - 1) / 3;
        let honest: Vec<i64> = (liars..members).map(|_| rng.below(100) as i64 - 50).collect();
        let lie = |rng: &mut SeededEntropy| match rng.below(4) {
            0 => "-1000000".to_owned(),
            1 => "1e30".to_owned(),
            2 => "nonsense".to_owned(),
            _ => (rng.below(300) as i64 - 150).to_string(),
        };
        let mut answers: Vec<String> = (0..liars).map(|_| lie(&mut rng)).collect();
        answers.extend(honest.iter().map(i64::to_string));
        let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
        let records = saw(&answers);
        let refs: Vec<&SignedRecord> = records.iter().collect();
        let mut some = shuffled(&refs, &mut rng);
        let least = quorum(members).unwrap();
        some.truncate(least + rng.below((members - least + 1) as u64) as usize);
        if let Some(OracleResult::Value { bytes }) = decide(&source(median("")), members, &some) {
            let middle: i64 = core::str::from_utf8(&bytes).unwrap().parse().unwrap();
            let (low, high) = (honest.iter().min().unwrap(), honest.iter().max().unwrap());
            assert!((*low..=*high).contains(&middle), "{middle} of {answers:?}");
        }
        let identical = source(Aggregation::Identical);
        if let Some(OracleResult::Value { bytes }) = decide(&identical, members, &some) {
            let signed = records.iter().filter(|record| match &record.observation {
                Observation::Value { bytes: seen } => *seen == bytes,
                Observation::Failed { .. } => false,
            });
            assert!(signed.count() >= least);
        }
    }
}

fn number(text: &str) -> Option<Decimal> {
    Decimal::parse(text)
}

#[test]
fn decimals_are_compared_exactly() {
    let ascending = [
        "-1e100",
        "-12.5",
        "-12.4999",
        "-1",
        "-0.1",
        "-0.01",
        "-1e-100",
        "0",
        "1e-100",
        "0.01",
        "0.09",
        "0.1",
        "0.10000000000000000000000000000000000001",
        "1",
        "9.99",
        "10",
        "12.4999",
        "12.5",
        "99",
        "100",
        "1e100",
    ];
    for (i, left) in ascending.iter().enumerate() {
        for (j, right) in ascending.iter().enumerate() {
            let order = number(left).unwrap().cmp(&number(right).unwrap());
            assert_eq!(order, i.cmp(&j), "{left} and {right}");
        }
    }
    for same in [["1", "1.0"], ["100", "1e2"], ["-0", "0.000e5"], ["0.01", "10e-3"]] {
        assert_eq!(number(same[0]).unwrap().cmp(&number(same[1]).unwrap()), Ordering::Equal);
        assert_eq!(number(same[0]).unwrap().to_text(), number(same[1]).unwrap().to_text());
    }
}

#[test]
fn decimals_have_one_form() {
    for (text, form) in [
        ("0", "0"),
        ("-0.0", "0"),
        ("1.50", "1.5"),
        ("1e3", "1000"),
        ("12345e-2", "123.45"),
        ("-1e-3", "-0.001"),
        ("100", "100"),
        ("0.5", "0.5"),
        ("120E-1", "12"),
        ("00.1", "0.1"),
    ] {
        let made = number(text).unwrap().to_text();
        assert_eq!(made, form, "{text}");
        assert_eq!(number(&made), number(text), "{text}");
    }
    for bad in [
        "",
        "-",
        "1.",
        ".1",
        "1e",
        "e5",
        "1e99999999999",
        "1e200",
        "1e-300",
        "0x10",
        "1,5",
        " 1",
        "1_000",
        "NaN",
        "--1",
        "+1",
        &"1".repeat(200),
        "1e+-5",
    ] {
        assert_eq!(number(bad), None, "{bad}");
    }
    assert!(number(&"9".repeat(128)).is_some() && number(&"9".repeat(129)).is_none());
}
