//! From observations to one result.
//!
//! Every member computes the same from the same records, in whatever order they came. A quorum of
//! records is needed in any case ([`Aggregation::Single`] aside), more where the source wants more:
//!
//! | aggregation | the result |
//! |---|---|
//! | identical | what a quorum answered, byte for byte |
//! | median | the lower median of at least a quorum of numbers, in its shortest form |
//! | mode | the most frequent answer, the smallest of several; more than a third answered it |
//! | by fields | an object of the rules' fields, each by its rule |
//! | k of n | a list of all answers in ascending order |
//! | single | the writer's answer |
//!
//! *Provided:* with less than a third of members lying, a median lies within what honest members
//! saw, what is identical was seen by honest members, and what is most frequent by at least one.
//! *Not provided:* protection of a most frequent answer from liars when honest members disagree.

use std::collections::BTreeMap;

use base64ct::{Base64, Encoding as _};
use session_core::committee::quorum;
use session_core::{Blob, NodeId};
use session_protocol::workload::manifest::{Aggregation, FieldRule, Rule};
use session_protocol::workload::oracle::{Fault, Pin};
use session_protocol::workload::{Observation, OracleResult, SignedRecord, Source};

use crate::transform::json::Json;
use crate::transform::{makes_json, path};

mod decimal;

use decimal::Decimal;

/// Returns what the committee of so many members makes of the records of one attempt, if they
/// agree. Of two records of one member the smaller counts.
#[must_use]
pub fn decide(source: &Source, members: usize, records: &[&SignedRecord]) -> Option<OracleResult> {
    if matches!(source.aggregation, Aggregation::Single) {
        let [record] = records else { return None };
        return Some(match &record.observation {
            Observation::Value { bytes } => OracleResult::Value { bytes: bytes.clone() },
            Observation::Failed { fault } => OracleResult::Failed { fault: *fault },
        });
    }
    let room = Room::of(source, members)?;
    let seen = Seen::of(source, records);
    if let Some((fault, count)) = seen.worst()
        && count >= room.quorum
    {
        return Some(OracleResult::Failed { fault });
    }
    if seen.count() < room.needed {
        return None;
    }
    let bytes = seen.value(source, &room)?;
    Some(match Blob::new(bytes) {
        Ok(bytes) => OracleResult::Value { bytes },
        Err(_) => OracleResult::Failed { fault: Fault::TooLarge },
    })
}

/// Returns whether no `missing` further records could bring agreement.
#[must_use]
pub fn hopeless(
    source: &Source,
    members: usize,
    records: &[&SignedRecord],
    missing: usize,
) -> bool {
    if decide(source, members, records).is_some() {
        return false;
    }
    if missing == 0 {
        return true;
    }
    if matches!(source.aggregation, Aggregation::Single) {
        return !records.is_empty();
    }
    let Some(room) = Room::of(source, members) else { return true };
    let seen = Seen::of(source, records);
    let may_fail = seen.worst().map_or(0, |(_, count)| count) + missing >= room.quorum;
    let enough = seen.count() + missing >= room.needed;
    let may_agree = enough && seen.may_agree(source, &room, missing);
    !may_fail && !may_agree
}

/// Returns the path to the number of which the median is taken, if there is one.
pub(crate) fn field(aggregation: &Aggregation) -> Option<&str> {
    match aggregation {
        Aggregation::Median { field } if !field.is_empty() => Some(field),
        _ => None,
    }
}

/// How many are needed.
struct Room {
    quorum: usize,
    /// Records in all.
    needed: usize,
    /// Members of whom one is honest.
    honest: usize,
}

impl Room {
    fn of(source: &Source, members: usize) -> Option<Self> {
        let quorum = quorum(members).ok()?;
        let k = match source.aggregation {
            Aggregation::KOfN { k } => usize::from(k),
            _ => 0,
        };
        let needed = quorum.max(usize::from(source.records_min)).max(k);
        Some(Self { quorum, needed, honest: members.saturating_sub(1) / 3 + 1 })
    }
}

/// What members saw: one observation each, all of the same block if there is one.
struct Seen<'a> {
    values: Vec<&'a [u8]>,
    faults: BTreeMap<Fault, usize>,
}

impl<'a> Seen<'a> {
    fn of(source: &Source, records: &[&'a SignedRecord]) -> Self {
        let mut by_member: BTreeMap<NodeId, &SignedRecord> = BTreeMap::new();
        for record in records {
            let kept = by_member.entry(record.submitter).or_insert(record);
            let order = |record: &SignedRecord| (record.observation.data_hash(), record.pin);
            if order(record) < order(kept) {
                *kept = record;
            }
        }
        let pin = common_pin(source, by_member.values().copied());
        let (mut values, mut faults) = (Vec::new(), BTreeMap::new());
        for record in by_member.into_values().filter(|record| record.pin == pin) {
            match &record.observation {
                Observation::Value { bytes } => values.push(&**bytes),
                Observation::Failed { fault } => *faults.entry(*fault).or_insert(0) += 1,
            }
        }
        values.sort_unstable();
        Self { values, faults }
    }

    fn count(&self) -> usize {
        self.values.len() + self.faults.values().sum::<usize>()
    }

    /// Returns the most frequent failure.
    fn worst(&self) -> Option<(Fault, usize)> {
        self.faults.iter().map(|(fault, count)| (*fault, *count)).max_by_key(|(_, count)| *count)
    }

    fn value(&self, source: &Source, room: &Room) -> Option<Vec<u8>> {
        let values = || self.values.iter().copied();
        match &source.aggregation {
            Aggregation::Identical => same(values(), room.quorum).map(<[u8]>::to_vec),
            Aggregation::Mode => same(values(), room.honest).map(<[u8]>::to_vec),
            Aggregation::Median { field } => {
                let middle = median(self.numbers(field), room.needed)?;
                Some(middle.to_text().into_bytes())
            }
            Aggregation::ByFields { rules } => {
                let objects = self.objects();
                let field = |rule: &FieldRule| {
                    let values = fields(&objects, rule);
                    Some((rule.field.to_string(), by_rule(rule.rule, &values, room)?))
                };
                let made: BTreeMap<_, _> = rules.iter().map(field).collect::<Option<_>>()?;
                Some(Json::Object(made).to_text().into_bytes())
            }
            Aggregation::KOfN { .. } => {
                let enough = self.values.len() >= room.needed;
                let list = || Json::List(values().map(|value| item(source, value)).collect());
                enough.then(|| list().to_text().into_bytes())
            }
            Aggregation::Single => None,
        }
    }

    /// Returns whether so many more records could make the values agree.
    fn may_agree(&self, source: &Source, room: &Room, missing: usize) -> bool {
        let most = |values: &[&[u8]]| most_frequent(values.iter().copied()).map_or(0, |(_, n)| n);
        match &source.aggregation {
            Aggregation::Identical => most(&self.values) + missing >= room.quorum,
            Aggregation::Mode => most(&self.values) + missing >= room.honest,
            Aggregation::Median { field } => self.numbers(field).len() + missing >= room.needed,
            Aggregation::ByFields { rules } => {
                let objects = self.objects();
                rules.iter().all(|rule| {
                    let values = fields(&objects, rule);
                    let most = most_frequent(values.iter()).map_or(0, |(_, count)| count);
                    missing
                        + match rule.rule {
                            Rule::Identical => most,
                            Rule::Mode => most + room.quorum - room.honest,
                            Rule::Median => values.iter().filter_map(decimal).count(),
                        }
                        >= room.quorum
                })
            }
            Aggregation::KOfN { .. } => self.values.len() + missing >= room.needed,
            Aggregation::Single => false,
        }
    }

    fn numbers(&self, field: &str) -> Vec<Decimal> {
        let path = (!field.is_empty()).then(|| path::Path::parse(field));
        let number = |bytes: &&[u8]| {
            let json = Json::parse(bytes).ok()?;
            match &path {
                None => decimal(&json),
                Some(path) => decimal(&path.as_ref().ok()?.select(&json, &path::tree(&json))?),
            }
        };
        self.values.iter().filter_map(number).collect()
    }

    fn objects(&self) -> Vec<BTreeMap<String, Json>> {
        let object = |bytes: &&[u8]| match Json::parse(bytes).ok()? {
            Json::Object(members) => Some(members),
            _ => None,
        };
        self.values.iter().filter_map(object).collect()
    }
}

/// Returns the block that most records are of, the smallest of several.
fn common_pin<'a>(source: &Source, records: impl Iterator<Item = &'a SignedRecord>) -> Option<Pin> {
    if !source.connector.pins() {
        return None;
    }
    let mut pins: Vec<Pin> = records.filter_map(|record| record.pin).collect();
    pins.sort_unstable();
    most_frequent(pins).map(|(pin, _)| pin)
}

/// Returns what is there most often, and how often; the smallest of several, as the values ascend.
fn most_frequent<T: Ord + Clone>(values: impl IntoIterator<Item = T>) -> Option<(T, usize)> {
    let mut counts = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_insert(0) += 1;
    }
    counts.into_iter().fold(None, |best: Option<(T, usize)>, (value, count)| match best {
        Some(best) if best.1 >= count => Some(best),
        _ => Some((value, count)),
    })
}

fn same<T: Ord + Clone>(values: impl IntoIterator<Item = T>, needed: usize) -> Option<T> {
    most_frequent(values).filter(|(_, count)| *count >= needed).map(|(value, _)| value)
}

/// Returns the lower median of at least `needed` numbers.
fn median(mut numbers: Vec<Decimal>, needed: usize) -> Option<Decimal> {
    numbers.sort_unstable();
    let middle = numbers.len().checked_sub(1)? / 2;
    (numbers.len() >= needed).then(|| numbers.swap_remove(middle))
}

/// Returns the number that a value is: many put decimals between quotes.
fn decimal(json: &Json) -> Option<Decimal> {
    match json {
        Json::Number(text) | Json::Text(text) => Decimal::parse(text),
        _ => None,
    }
}

fn fields(objects: &[BTreeMap<String, Json>], rule: &FieldRule) -> Vec<Json> {
    objects.iter().filter_map(|object| object.get(&*rule.field).cloned()).collect()
}

fn by_rule(rule: Rule, values: &[Json], room: &Room) -> Option<Json> {
    let enough = values.len() >= room.quorum;
    match rule {
        Rule::Identical => same(values.iter(), room.quorum).cloned(),
        Rule::Mode => same(values.iter(), room.honest).filter(|_| enough).cloned(),
        Rule::Median => {
            let numbers = values.iter().filter_map(decimal).collect();
            median(numbers, room.quorum).map(|number| Json::Number(number.to_text()))
        }
    }
}

/// Returns an answer as a value of the list of all answers.
fn item(source: &Source, bytes: &[u8]) -> Json {
    let json = makes_json(&source.transform).then(|| Json::parse(bytes));
    match (json, core::str::from_utf8(bytes)) {
        (Some(Ok(json)), _) => json,
        (_, Ok(text)) => Json::Text(text.to_owned()),
        (_, Err(_)) => {
            let text = Json::Text(Base64::encode_string(bytes));
            Json::Object(BTreeMap::from([("base64".to_owned(), text)]))
        }
    }
}

#[cfg(test)]
mod tests;
