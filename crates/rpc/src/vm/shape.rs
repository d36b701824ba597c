//! How results are written, and how the API's description shows them.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use session_core::{
    AccountId, BlockId, ChainId, ChannelId, ConversationId, Digest, Epoch, InboxAddress, MessageId,
    NodeId, ServiceId, SessionId, SwarmId, Time, TxId,
};

use super::rfc3339;
use crate::digits;

/// Something that is written in a result in one way.
pub trait Shape {
    /// Returns it as JSON.
    fn to_json(&self) -> Value;

    /// Returns its JSON Schema.
    #[must_use]
    fn schema() -> Value;
}

/// A way to write `T`. `None` leaves the member out.
pub(crate) trait Form<T> {
    const OPTIONAL: bool = false;

    fn write(value: &T) -> Option<Value>;

    fn schema() -> Value;
}

/// As [`Shape`] writes it.
pub(crate) struct Plain;

impl<T: Shape> Form<T> for Plain {
    fn write(value: &T) -> Option<Value> {
        Some(value.to_json())
    }

    fn schema() -> Value {
        T::schema()
    }
}

/// As `F` writes it, left out when there is none.
pub(crate) struct Maybe<F>(core::marker::PhantomData<F>);

impl<T, F: Form<T>> Form<Option<T>> for Maybe<F> {
    const OPTIONAL: bool = true;

    fn write(value: &Option<T>) -> Option<Value> {
        value.as_ref().and_then(F::write)
    }

    fn schema() -> Value {
        F::schema()
    }
}

macro_rules! forms {
    ($($(#[$meta:meta])* $form:ident: $from:ty, $write:expr, $schema:tt;)*) => {$(
        $(#[$meta])*
        pub(crate) struct $form;

        impl Form<$from> for $form {
            fn write(value: &$from) -> Option<Value> {
                let write: fn(&$from) -> Value = $write;
                Some(write(value))
            }

            fn schema() -> Value {
                json!($schema)
            }
        }
    )*};
}

forms! {
    /// An amount: decimal digits as a text, since JavaScript cannot read every 64-bit number.
    Amount: u64, |units| units.to_string().into(),
        {"type": "string", "pattern": "^[0-9]+$", "description": "base units of LUX, decimal"};
    /// A time as people read it.
    Rfc3339: Time, |time| rfc3339::format(*time).into(),
        {"type": "string", "format": "date-time"};
    /// A time in whole seconds.
    Unix: Time, |time| (time.as_millis() / 1000).into(),
        {"type": "integer", "description": "seconds since the Unix epoch"};
    /// A time in milliseconds.
    UnixMillis: Time, |time| time.as_millis().into(),
        {"type": "integer", "description": "milliseconds since the Unix epoch"};
}

impl Shape for Vec<u8> {
    fn to_json(&self) -> Value {
        digits::encode(self).into()
    }

    fn schema() -> Value {
        json!({"type": "string", "description": "bytes in hex", "pattern": "^([0-9a-f]{2})*$"})
    }
}

impl<T: Shape> Shape for Vec<T> {
    fn to_json(&self) -> Value {
        self.iter().map(Shape::to_json).collect()
    }

    fn schema() -> Value {
        json!({"type": "array", "items": T::schema()})
    }
}

impl Shape for BTreeMap<String, String> {
    fn to_json(&self) -> Value {
        self.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect()
    }

    fn schema() -> Value {
        json!({"type": "object", "additionalProperties": {"type": "string"}})
    }
}

impl Shape for Map<String, Value> {
    fn to_json(&self) -> Value {
        Value::Object(self.clone())
    }

    fn schema() -> Value {
        json!({"type": "object"})
    }
}

impl Shape for String {
    fn to_json(&self) -> Value {
        self.as_str().into()
    }

    fn schema() -> Value {
        json!({"type": "string"})
    }
}

impl Shape for bool {
    fn to_json(&self) -> Value {
        (*self).into()
    }

    fn schema() -> Value {
        json!({"type": "boolean"})
    }
}

impl Shape for Epoch {
    fn to_json(&self) -> Value {
        self.0.into()
    }

    fn schema() -> Value {
        u64::schema()
    }
}

// All 16 digits: a number of 64 bits is not safe in JSON.
impl Shape for SwarmId {
    fn to_json(&self) -> Value {
        self.to_string().into()
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^[0-9a-f]{16}$"})
    }
}

impl Shape for AccountId {
    fn to_json(&self) -> Value {
        format!("07{self}").into()
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^07[0-9a-f]{64}$"})
    }
}

macro_rules! counts {
    ($($count:ident)*) => {$(
        impl Shape for $count {
            fn to_json(&self) -> Value {
                (*self).into()
            }

            fn schema() -> Value {
                json!({"type": "integer", "minimum": 0})
            }
        }
    )*};
}

counts! { u16 u32 u64 }

macro_rules! ids {
    ($($id:ident)*) => {$(
        impl Shape for $id {
            fn to_json(&self) -> Value {
                self.to_string().into()
            }

            fn schema() -> Value {
                json!({"type": "string", "pattern": "^[0-9a-f]{64}$"})
            }
        }
    )*};
}

ids! {
    BlockId ChainId ChannelId ConversationId Digest InboxAddress MessageId NodeId ServiceId SessionId TxId
}

/// Adds a text to a member's schema. A reference has no room for one.
pub(crate) fn explained(mut schema: Value, text: &str) -> Value {
    if schema.get("$ref").is_none() {
        let form = schema.get("description").and_then(Value::as_str);
        let text = form.map_or_else(|| text.to_owned(), |form| format!("{text} ({form})"));
        schema["description"] = text.into();
    }
    schema
}

/// Makes tables out of members: the types, how they are written, and their schemas.
macro_rules! objects {
    ($(
        $(#[doc = $doc:literal])+
        $object:ident {
            $(
                $(#[doc = $field_doc:literal])+
                $field:ident: $type:ty = $($member:literal as $form:ty),+;
            )*
        }
    )*) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Debug, PartialEq, Eq)]
            pub struct $object { $($(#[doc = $field_doc])+ pub $field: $type,)* }

            impl $object {
                #[allow(unused_mut, reason = "some objects have no members")]
                fn define() -> Value {
                    let mut members = serde_json::Map::new();
                    let mut required: Vec<&str> = Vec::new();
                    $(
                        let text = [$($field_doc,)+].map(str::trim).join(" ");
                        $(
                            members.insert(
                                $member.to_owned(),
                                explained(<$form as Form<$type>>::schema(), &text),
                            );
                            if !<$form as Form<$type>>::OPTIONAL {
                                required.push($member);
                            }
                        )+
                    )*
                    let text = [$($doc,)+].map(str::trim).join(" ");
                    json!({
                        "type": "object", "description": text,
                        "required": required, "properties": members,
                    })
                }
            }

            impl Shape for $object {
                fn to_json(&self) -> Value {
                    let mut members = serde_json::Map::new();
                    $($(
                        if let Some(value) = <$form as Form<$type>>::write(&self.$field) {
                            members.insert($member.to_owned(), value);
                        }
                    )+)*
                    Value::Object(members)
                }

                fn schema() -> Value {
                    json!({"$ref": concat!("#/components/schemas/", stringify!($object))})
                }
            }
        )*

        /// Returns the schema of every object, by name.
        pub(crate) fn definitions() -> serde_json::Map<String, Value> {
            [$((stringify!($object).to_owned(), $object::define()),)*].into_iter().collect()
        }
    };
}

/// Makes enums that are written as words.
macro_rules! words {
    ($(
        $(#[$meta:meta])*
        $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)* }
    )*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$variant_meta])* $variant,)* }

        impl $name {
            /// Returns the word.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl Shape for $name {
            fn to_json(&self) -> Value {
                self.word().into()
            }

            fn schema() -> Value {
                json!({"type": "string", "enum": [$($word,)*]})
            }
        }
    )*};
}

pub(crate) use {objects, words};
