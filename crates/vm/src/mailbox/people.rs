//! Accounts with their keys, each held once however many conversations refer to it.

use std::collections::BTreeMap;

use session_core::{AccountId, Decode, Encode, Time};
use session_crypto::{DsaPublicKey, KemPublicKey, PublicIdentity};
use session_storage::{Store, Table};

use super::error::{Refusal, Unauthorized};
use super::record::{ParticipantKey, PersonRecord, PersonRef, SigningRecord, key};

/// The number of a person; given anew once nothing refers to it.
pub(super) type PersonNumber = u32;

#[derive(Debug)]
pub(super) struct Person {
    pub(super) account: AccountId,
    pub(super) key: ParticipantKey,
    pub(super) signing: Option<DsaPublicKey>,
    refs: u32,
}

impl Person {
    /// Returns whether a signing key, with the ML-KEM key, makes this account.
    fn check_signing(&self, signing: &DsaPublicKey) -> Result<(), Refusal> {
        let ParticipantKey::Kem { key } = &self.key else {
            return Err(Refusal::unauthorized(Unauthorized::OtherProfile));
        };
        check_binding(&self.account, key, signing)
    }
}

/// Checks that two keys hash to the account.
pub(super) fn check_binding(
    account: &AccountId,
    kem: &KemPublicKey,
    signing: &DsaPublicKey,
) -> Result<(), Refusal> {
    if PublicIdentity::new(kem.clone(), signing.clone()).account_id() == *account {
        Ok(())
    } else {
        Err(Refusal::unauthorized(Unauthorized::WrongKey))
    }
}

#[derive(Debug, Default)]
pub(super) struct People {
    numbers: BTreeMap<PersonRecord, PersonNumber>,
    people: Vec<Option<Person>>,
    free: Vec<PersonNumber>,
}

impl People {
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(super) fn get(&self, number: PersonNumber) -> &Person {
        self.people[number as usize].as_ref().expect("whoever holds the number holds a reference")
    }

    pub(super) fn reference(&self, number: PersonNumber) -> PersonRef {
        let account = self.get(number).account;
        let [a, b, c, d, ..] = *account.as_bytes();
        PersonRef { number, account_head: [a, b, c, d] }
    }

    /// Refers once more to a person, writing the record of a new one.
    pub(super) fn acquire(
        &mut self,
        store: &mut dyn Store,
        person: PersonRecord,
        limit: u64,
    ) -> Result<PersonNumber, Refusal> {
        if let Some(&number) = self.numbers.get(&person) {
            self.refer(number);
            return Ok(number);
        }
        let got = self.numbers.len() as u64 + 1;
        if got > limit {
            return Err(Refusal::Limit { field: "people", got, limit });
        }
        let next = u32::try_from(self.people.len()).expect("the limit of people is below 2^32");
        let number = self.free.last().copied().unwrap_or(next);
        let name = key::numbered(key::PERSON, number);
        store.put_record(Table::Conversation, &name, &person.to_bytes(), Time::MAX)?;
        self.free.pop();
        self.insert(number, person, 1);
        Ok(number)
    }

    fn refer(&mut self, number: PersonNumber) {
        let person = self.people[number as usize].as_mut().expect("indexed people are there");
        person.refs += 1;
    }

    fn insert(&mut self, number: PersonNumber, record: PersonRecord, refs: u32) {
        let at = number as usize;
        if at >= self.people.len() {
            self.people.resize_with(at + 1, || None);
        }
        let person =
            Person { account: record.account, key: record.key.clone(), signing: None, refs };
        self.people[at] = Some(person);
        // A record that could not be removed may name the same person under another number.
        self.numbers.entry(record).or_insert(number);
    }

    /// Gives a reference up, and forgets the person with the last one.
    pub(super) fn release(&mut self, store: &mut dyn Store, number: PersonNumber) {
        let slot = &mut self.people[number as usize];
        let person = slot.as_mut().expect("whoever gives a reference up held one");
        person.refs -= 1;
        if person.refs > 0 {
            return;
        }
        let person = slot.take().expect("it was there a line above");
        unlist(&mut self.numbers, number, person);
        self.free.push(number);
        forget(store, number);
    }

    /// Keeps the signing key of a person. Whoever calls has checked that it belongs to it.
    pub(super) fn learn(
        &mut self,
        store: &mut dyn Store,
        number: PersonNumber,
        signing: &DsaPublicKey,
    ) -> Result<(), Refusal> {
        if self.get(number).signing.as_ref() == Some(signing) {
            return Ok(());
        }
        let name = key::numbered(key::SIGNING, number);
        let value = SigningRecord { key: signing.clone() }.to_bytes();
        store.put_record(Table::Conversation, &name, &value, Time::MAX)?;
        if let Some(person) = &mut self.people[number as usize] {
            person.signing = Some(signing.clone());
        }
        Ok(())
    }

    /// Reads all people. What does not decode is counted and removed; nobody is referred to yet.
    pub(super) fn load(store: &mut dyn Store) -> Result<(Self, u64), Refusal> {
        let mut people = Self::default();
        let mut damaged = 0;
        for (name, _) in store.records(Table::Conversation, &[key::PERSON]) {
            match (number_of(&name), read::<PersonRecord>(store, &name)) {
                (Some(number), Some(record)) => {
                    people.insert(number, record, 0);
                }
                _ => {
                    damaged += 1;
                    store.remove_record(Table::Conversation, &name)?;
                }
            }
        }
        for (name, _) in store.records(Table::Conversation, &[key::SIGNING]) {
            let record = read::<SigningRecord>(store, &name);
            let number = number_of(&name).map(|number| number as usize);
            let person = number.and_then(|at| people.people.get_mut(at)?.as_mut());
            match (record, person) {
                // The number may have belonged to somebody else when the key was written.
                (Some(SigningRecord { key }), Some(person))
                    if person.check_signing(&key).is_ok() =>
                {
                    person.signing = Some(key);
                }
                _ => {
                    damaged += 1;
                    store.remove_record(Table::Conversation, &name)?;
                }
            }
        }
        Ok((people, damaged))
    }

    /// Refers to a person that a stored record names, if it is still the same one.
    pub(super) fn refer_loaded(&mut self, reference: PersonRef) -> Option<PersonNumber> {
        let person = self.people.get_mut(reference.number as usize)?.as_mut()?;
        if person.account.as_bytes()[..4] != reference.account_head {
            return None;
        }
        person.refs += 1;
        Some(reference.number)
    }

    /// Forgets whom nothing refers to, once everything is loaded.
    pub(super) fn finish_load(&mut self, store: &mut dyn Store) {
        for (number, slot) in (0..).zip(&mut self.people) {
            if let Some(person) = slot.take_if(|person| person.refs == 0) {
                unlist(&mut self.numbers, number, person);
                forget(store, number);
            }
            if slot.is_none() {
                self.free.push(number);
            }
        }
    }
}

fn unlist(
    numbers: &mut BTreeMap<PersonRecord, PersonNumber>,
    number: PersonNumber,
    person: Person,
) {
    let record = PersonRecord { account: person.account, key: person.key };
    if numbers.get(&record) == Some(&number) {
        numbers.remove(&record);
    }
}

fn number_of(name: &[u8]) -> Option<PersonNumber> {
    // A damaged number must not make us reserve gigabytes.
    const NUMBER_MAX: u32 = 16_000_000;
    let number = u32::from_be_bytes(name.get(1..)?.try_into().ok()?);
    (number <= NUMBER_MAX).then_some(number)
}

fn read<T: Decode>(store: &dyn Store, name: &[u8]) -> Option<T> {
    T::decode_exact(&store.record(Table::Conversation, name).ok()??).ok()
}

// A record that stays because the disk fails is found without references at the next start.
fn forget(store: &mut dyn Store, number: PersonNumber) {
    for tag in [key::SIGNING, key::PERSON] {
        let _ = store.remove_record(Table::Conversation, &key::numbered(tag, number));
    }
}
