use session_core::{Entropy, SeededEntropy, Text};

use super::super::oracle::Parameter;
use super::{BadTemplate, Escape, RENDERED_BYTES_MAX, parameters, render};

fn given(pairs: &[(&str, &str)]) -> Vec<Parameter> {
    let parameter = |(name, value): &(&str, &str)| Parameter {
        name: Text::new(*name).unwrap(),
        value: Text::new(*value).unwrap(),
    };
    pairs.iter().map(parameter).collect()
}

fn url(template: &str, pairs: &[(&str, &str)]) -> Result<String, BadTemplate> {
    render(template, &given(pairs), Escape::Url)
}

#[test]
fn values_stand_where_their_names_were() {
    let rendered = url("https://x.org/{a}/p?q={b}&r={a}", &[("a", "one"), ("b", "2")]);
    assert_eq!(rendered.unwrap(), "https://x.org/one/p?q=2&r=one");
    assert_eq!(url("{{\"a\":{a}}}", &[("a", "1")]).unwrap(), "{\"a\":1}");
    assert_eq!(url("", &[]).unwrap(), "");
    assert_eq!(url("no braces", &[("unused", "1")]).unwrap(), "no braces");
}

#[test]
fn a_value_cannot_leave_its_place_in_an_address() {
    let hostile = "a/../b?c#d@e:f\\g %2e";
    let rendered = url("https://h/{x}/end", &[("x", hostile)]).unwrap();
    assert_eq!(rendered, "https://h/a%2F..%2Fb%3Fc%23d%40e%3Af%5Cg%20%252e/end");
    for dots in [".", "..", "..."] {
        let refused = BadTemplate::Dots { name: "x".into() };
        assert_eq!(url("https://h/{x}/end", &[("x", dots)]), Err(refused));
        assert_eq!(render("{x}", &given(&[("x", dots)]), Escape::None).unwrap(), dots);
    }
    assert_eq!(url("{x}", &[("x", "ü")]).unwrap(), "%C3%BC");
}

#[test]
fn a_header_value_has_one_line() {
    for value in ["a\r\nb: c", "a\nb", "\0", "\u{85}"] {
        let refused = Err(BadTemplate::Control { name: "x".into() });
        assert_eq!(render("{x}", &given(&[("x", value)]), Escape::None), refused);
        assert_eq!(url("{x}", &[("x", value)]), refused);
    }
}

#[test]
fn braces_must_match() {
    assert_eq!(url("ab{c", &[]), Err(BadTemplate::Open { at: 2 }));
    assert_eq!(url("{{{a", &[]), Err(BadTemplate::Open { at: 2 }));
    assert_eq!(url("a}b", &[]), Err(BadTemplate::Close { at: 1 }));
    assert_eq!(url("{{}", &[]), Err(BadTemplate::Close { at: 2 }));
    for name in ["", " ", "a b", "ü", "a{b", &"x".repeat(65)] {
        let refused = Err(BadTemplate::Name { name: name.into() });
        assert_eq!(parameters(&format!("{{{name}}}")), refused);
    }
    let missing = Err(BadTemplate::Missing { name: "b".into() });
    assert_eq!(url("{a}{b}", &[("a", "1")]), missing);
}

#[test]
fn what_is_rendered_is_bounded() {
    let long = "ü".repeat(500);
    let names: Vec<String> = (0..3).map(|n| format!("p{n}")).collect();
    let pairs: Vec<_> = names.iter().map(|name| (name.as_str(), long.as_str())).collect();
    assert_eq!(url("{p0}{p1}{p2}", &pairs), Err(BadTemplate::TooLong));
    let plain = render("{p0}{p1}{p2}", &given(&pairs), Escape::None).unwrap();
    assert!(plain.len() == 3000 && plain.len() < RENDERED_BYTES_MAX);
}

#[test]
fn names_are_listed_once_in_order() {
    let names = parameters("{b}/{a}/{{c}}/{b}").unwrap();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["a", "b"]);
}

/// Whatever is put in: the address has the same scheme, host and number of parts.
#[test]
fn no_value_changes_the_shape_of_an_address() {
    let mut rng = SeededEntropy::new(3);
    let characters = ['/', '?', '#', '@', ':', '.', '%', '&', '=', '\\', 'a', 'ü', '[', ' '];
    for _ in 0..2000 {
        let length = rng.below(8);
        let value: String = (0..length).map(|_| characters[rng.below(14) as usize]).collect();
        let Ok(rendered) = url("https://host/{x}?k={x}#end", &[("x", &value)]) else {
            assert!(value.bytes().all(|byte| byte == b'.'));
            continue;
        };
        let rest = rendered.strip_prefix("https://host/").unwrap();
        for mark in ['/', '@', ':', '\\', '[', ' '] {
            assert!(!rest.contains(mark), "{value:?} makes {rendered}");
        }
        assert_eq!(rest.matches(['?', '&', '=', '#']).count(), 3, "{value:?} makes {rendered}");
    }
}
