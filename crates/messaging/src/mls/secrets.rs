//! The message secrets of a group, taken apart.
//!
//! The library writes them whole with each message, and in them, for each past epoch, who was a
//! member then: 800 KB at 250 members, which never change. So they are kept in pieces, and only
//! those are written that are new or different. Put together they are the same MessagePack again.
//!
//! That the members of a past epoch never change is the library's; whoever raises its version looks
//! whether it still holds.

use core::cell::RefCell;

use rmp_serde::encode::Error;
use serde::ser::{Error as _, Impossible, SerializeSeq, SerializeStruct};
use serde::{Serialize, Serializer};
use session_core::{Digest, Domain, List, digest, record};
use zeroize::Zeroizing;

use super::store::{StoreError, Value, encode};

/// The names of the library's fields, in its order.
const WHOLE: [&str; 3] = ["max_epochs", "past_epoch_trees", "message_secrets"];
const EPOCH: [&str; 3] = ["epoch", "message_secrets", "leaves"];

/// What the first byte of a MessagePack array or map of up to 15 entries starts with.
const ARRAY: u8 = 0x90;
const MAP: u8 = 0x80;
const SMALL: usize = 15;

record! {
    /// The pieces that there are.
    #[derive(Default, PartialEq, Eq)]
    pub(super) struct Index {
        /// How many past epochs there may be.
        pub(super) most: u64,
        /// The past epochs, the oldest first.
        pub(super) past: List<Past, SMALL>,
    }

    /// A past epoch.
    #[derive(PartialEq, Eq)]
    pub(super) struct Past {
        /// Its number.
        pub(super) epoch: u64,
        /// Of its secrets: tells whether they have to be written again.
        pub(super) secrets: Digest,
    }
}

/// A piece.
#[derive(Clone, Copy)]
pub(super) enum Piece {
    /// The secrets of the current epoch.
    Current,
    /// The secrets of a past epoch.
    Secrets(u64),
    /// The members in a past epoch.
    Leaves(u64),
}

impl Piece {
    /// Returns the key of this piece, below that of the index.
    pub(super) fn key(self, index: &[u8]) -> Vec<u8> {
        match self {
            Self::Current => [index, &[0]].concat(),
            Self::Secrets(epoch) => [index, &[1], &epoch.to_be_bytes()].concat(),
            Self::Leaves(epoch) => [index, &[2], &epoch.to_be_bytes()].concat(),
        }
    }
}

impl Index {
    /// Returns all pieces.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Piece> {
        let past = self.past.iter().flat_map(|it| of_epoch(it.epoch));
        past.chain([Piece::Current])
    }

    fn past(&self, epoch: u64) -> Option<&Past> {
        self.past.iter().find(|it| it.epoch == epoch)
    }
}

fn of_epoch(epoch: u64) -> [Piece; 2] {
    [Piece::Secrets(epoch), Piece::Leaves(epoch)]
}

/// Takes message secrets apart of which `before` is kept. Sets what is new or different, removes
/// what is there no more, and returns the index to keep.
pub(super) fn split<T: Serialize>(
    value: &T,
    before: &Index,
    mut set: impl FnMut(Piece, Option<Value>),
) -> Result<Index, StoreError> {
    let taken = RefCell::new(Taken::default());
    value.serialize(Taker { taken: &taken, before, level: Level::Whole })?;
    let Taken { most, current, past: epochs } = taken.into_inner();
    set(Piece::Current, Some(current));
    let mut past = Vec::with_capacity(epochs.len());
    for Epoch { epoch, secrets, leaves } in epochs {
        let entry = Past { epoch, secrets: digest(Domain::MlsState, &[&secrets]) };
        if before.past(epoch) != Some(&entry) {
            set(Piece::Secrets(epoch), Some(secrets));
        }
        if leaves.is_some() {
            set(Piece::Leaves(epoch), leaves);
        }
        past.push(entry);
    }
    let past = List::new(past).map_err(|_| StoreError::Unforeseen("more than 15 past epochs"))?;
    let after = Index { most, past };
    for gone in before.past.iter().filter(|it| after.past(it.epoch).is_none()) {
        for piece in of_epoch(gone.epoch) {
            set(piece, None);
        }
    }
    Ok(after)
}

/// Puts message secrets together again; `None` if a piece is missing.
pub(super) fn join(index: &Index, get: impl Fn(Piece) -> Option<Value>) -> Option<Value> {
    let current = get(Piece::Current)?;
    let mut out = Zeroizing::new(Vec::new());
    out.push(start(MAP, WHOLE.len()));
    named(&mut out, WHOLE[0], &number(index.most));
    named(&mut out, WHOLE[1], &[start(ARRAY, index.past.len())]);
    for Past { epoch, .. } in &index.past {
        let (secrets, leaves) = (get(Piece::Secrets(*epoch))?, get(Piece::Leaves(*epoch))?);
        out.push(start(MAP, EPOCH.len()));
        named(&mut out, EPOCH[0], &number(*epoch));
        named(&mut out, EPOCH[1], &secrets);
        named(&mut out, EPOCH[2], &leaves);
    }
    named(&mut out, WHOLE[2], &current);
    Some(out)
}

fn start(kind: u8, entries: usize) -> u8 {
    kind | u8::try_from(entries).expect("there are 15 at most")
}

fn number(number: u64) -> Vec<u8> {
    encode(&number).expect("a number is written to memory")
}

fn named(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend(encode(name).expect("a name is written to memory"));
    out.extend_from_slice(value);
}

/// What was taken so far.
#[derive(Default)]
struct Taken {
    most: u64,
    current: Value,
    past: Vec<Epoch>,
}

#[derive(Default)]
struct Epoch {
    epoch: u64,
    secrets: Value,
    /// `None` if they are kept already.
    leaves: Option<Value>,
}

/// Where in the library's structure a [`Taker`] is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Whole,
    Epochs,
    Epoch,
}

/// Takes the pieces while the library shows its structure, and refuses every other structure.
#[derive(Clone, Copy)]
struct Taker<'a> {
    taken: &'a RefCell<Taken>,
    before: &'a Index,
    level: Level,
}

impl Taker<'_> {
    fn at(self, level: Level) -> Self {
        Self { level, ..self }
    }

    fn only(self, level: bool) -> Result<Self, Error> {
        if level { Ok(self) } else { Err(unforeseen()) }
    }
}

fn unforeseen() -> Error {
    Error::custom("message secrets have a structure that is not foreseen")
}

fn number_of<T: Serialize + ?Sized>(value: &T) -> Result<u64, Error> {
    rmp_serde::from_slice(&encode(value)?).map_err(|_| unforeseen())
}

fn value_of<T: Serialize + ?Sized>(value: &T) -> Result<Value, Error> {
    encode(value).map(Zeroizing::new)
}

impl SerializeStruct for Taker<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        let level = self.level;
        if (level, name) == (Level::Whole, WHOLE[1]) {
            return value.serialize(self.at(Level::Epochs));
        }
        let mut taken = self.taken.borrow_mut();
        if level == Level::Whole {
            match name {
                _ if name == WHOLE[0] => taken.most = number_of(value)?,
                _ if name == WHOLE[2] => taken.current = value_of(value)?,
                _ => return Err(unforeseen()),
            }
            return Ok(());
        }
        let epoch = taken.past.last_mut().ok_or_else(unforeseen)?;
        match name {
            _ if name == EPOCH[0] => epoch.epoch = number_of(value)?,
            _ if name == EPOCH[1] => epoch.secrets = value_of(value)?,
            _ if name == EPOCH[2] && self.before.past(epoch.epoch).is_some() => {}
            _ if name == EPOCH[2] => epoch.leaves = Some(value_of(value)?),
            _ => return Err(unforeseen()),
        }
        Ok(())
    }

    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}

impl SerializeSeq for Taker<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        value.serialize(self.at(Level::Epoch))
    }

    fn end(self) -> Result<(), Error> {
        Ok(())
    }
}

macro_rules! refuse {
    ($($method:ident($($argument:ty),*) -> $answer:ty;)*) => {$(
        fn $method(self, $(_: $argument),*) -> Result<$answer, Error> {
            Err(unforeseen())
        }
    )*};
}

type Never = Impossible<(), Error>;

impl Serializer for Taker<'_> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Self;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Self;
    type SerializeStructVariant = Never;

    fn serialize_struct(self, _: &'static str, fields: usize) -> Result<Self, Error> {
        match self.level {
            Level::Whole => self.only(fields == WHOLE.len()),
            Level::Epochs => self.only(false),
            Level::Epoch => {
                self.taken.borrow_mut().past.push(Epoch::default());
                self.only(fields == EPOCH.len())
            }
        }
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Error> {
        self.only(self.level == Level::Epochs)
    }

    refuse! {
        serialize_bool(bool) -> ();
        serialize_i8(i8) -> ();
        serialize_i16(i16) -> ();
        serialize_i32(i32) -> ();
        serialize_i64(i64) -> ();
        serialize_u8(u8) -> ();
        serialize_u16(u16) -> ();
        serialize_u32(u32) -> ();
        serialize_u64(u64) -> ();
        serialize_f32(f32) -> ();
        serialize_f64(f64) -> ();
        serialize_char(char) -> ();
        serialize_str(&str) -> ();
        serialize_bytes(&[u8]) -> ();
        serialize_none() -> ();
        serialize_unit() -> ();
        serialize_unit_struct(&'static str) -> ();
        serialize_unit_variant(&'static str, u32, &'static str) -> ();
        serialize_tuple(usize) -> Never;
        serialize_tuple_struct(&'static str, usize) -> Never;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Never;
        serialize_map(Option<usize>) -> Never;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> Never;
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<(), Error> {
        Err(unforeseen())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: &T,
    ) -> Result<(), Error> {
        Err(unforeseen())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<(), Error> {
        Err(unforeseen())
    }
}
