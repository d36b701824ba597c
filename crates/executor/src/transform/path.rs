//! Paths into JSON (RFC 9535), with an upper bound on what following one costs.

use serde_json::{Map, Number, Value};
use serde_json_path::{JsonPath, PathElement};

use super::json::Json;

/// Most values that may be looked at for one path.
const COST_MAX: usize = 1 << 27;

/// A path that can be followed.
pub(crate) struct Path {
    text: String,
    parsed: JsonPath,
    shape: Shape,
}

/// A text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path:?} is no JSONPath: {why}")]
pub struct BadPath {
    /// The text.
    pub path: String,
    /// What is wrong.
    pub why: String,
}

/// What of a path decides how much it may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Shape {
    /// Segments that go down all the way.
    descents: usize,
    /// Filters whose condition looks at more than one value.
    wide_filters: usize,
    /// Regular expressions.
    patterns: usize,
    /// Commas between selectors.
    commas: usize,
    /// Whether it selects at most one value of any text.
    single: bool,
}

impl Path {
    /// Reads a path.
    pub(crate) fn parse(text: &str) -> Result<Self, BadPath> {
        let bad = |why: String| BadPath { path: text.to_owned(), why };
        let parsed = JsonPath::parse(text).map_err(|error| bad(error.to_string()))?;
        Ok(Self { text: text.to_owned(), parsed, shape: Shape::of(text) })
    }

    /// Refuses a path that could select several values.
    pub(crate) fn must_be_single(&self) -> Result<(), BadPath> {
        if self.shape.single {
            return Ok(());
        }
        let why = "it must lead to one value: no *, .., ?, slices or lists".to_owned();
        Err(BadPath { path: self.text.clone(), why })
    }

    /// Returns what it selects: the value, or a list if it is a path to several. `None` if there is
    /// no such value, or if looking for it costs too much.
    pub(crate) fn select(&self, json: &Json, tree: &Value) -> Option<Json> {
        if self.shape.cost(json.nodes()) > COST_MAX {
            return None;
        }
        let nodes = self.parsed.query_located(tree);
        let mut found = nodes.locations().map(|location| follow(json, location.iter()));
        if self.shape.single {
            return found.next().flatten().cloned();
        }
        found.map(|value| value.cloned()).collect::<Option<Vec<_>>>().map(Json::List)
    }
}

fn follow<'a>(
    json: &'a Json,
    mut path: core::slice::Iter<'_, PathElement<'_>>,
) -> Option<&'a Json> {
    path.try_fold(json, |value, element| match (value, element) {
        (Json::Object(members), PathElement::Name(name)) => members.get(*name),
        (Json::List(values), PathElement::Index(index)) => values.get(*index),
        _ => None,
    })
}

/// Returns the tree in which paths are looked for. Its numbers only serve the conditions of
/// filters, where RFC 9535 has them as doubles; what is selected keeps its own.
pub(crate) fn tree(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(text) => number(text).map_or(Value::Null, Value::Number),
        Json::Text(text) => Value::String(text.clone()),
        Json::List(values) => Value::Array(values.iter().map(tree).collect()),
        Json::Object(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), tree(value)));
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

fn number(text: &str) -> Option<Number> {
    let whole = text.parse().map(|number: i64| Number::from(number));
    let whole = whole.or_else(|_| text.parse().map(|number: u64| Number::from(number)));
    whole.ok().or_else(|| Number::from_f64(text.parse().ok()?))
}

impl Shape {
    fn of(path: &str) -> Self {
        let bare = without_texts(path);
        let count = |what: &str| bare.matches(what).count();
        let filters = count("?");
        let wide = filters > 0
            && (bare.split_once('?').is_some_and(|(_, condition)| {
                ["*", "..", ":", "$", ",", "?"].iter().any(|mark| condition.contains(mark))
            }));
        let descents = count("..");
        let single = descents + filters + count("*") + count(":") + count(",") == 0;
        Self {
            descents,
            wide_filters: if wide { filters } else { 0 },
            patterns: count("match") + count("search"),
            commas: count(","),
            single,
        }
    }

    /// Returns a bound on the values that are looked at in a text of so many.
    fn cost(&self, nodes: usize) -> usize {
        let power = |base: usize, exponent: usize| {
            base.saturating_pow(u32::try_from(exponent).unwrap_or(u32::MAX))
        };
        // Each value is below at most as many others as texts are deep.
        power(super::json::DEPTH_MAX, self.descents.saturating_sub(1))
            .saturating_mul(power(nodes, 1 + self.wide_filters))
            .saturating_mul(power(1000, self.patterns))
            .saturating_mul(power(2, self.commas))
    }
}

/// Returns the path with nothing between its quotes.
fn without_texts(path: &str) -> String {
    let mut out = String::new();
    let mut quote = None;
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        match quote {
            Some(_) if character == '\\' => {
                characters.next();
            }
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None if character == '\'' || character == '"' => quote = Some(character),
            None => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests;
