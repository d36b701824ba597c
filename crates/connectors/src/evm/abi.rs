//! Calls of contracts: texts to bytes, bytes to JSON.

use alloy_dyn_abi::{DynSolType, DynSolValue};
use alloy_primitives::keccak256;
use serde_json::Value;

/// The largest returned data: several values may point to the same bytes of it, and each of them
/// becomes text.
const DATA_BYTES_MAX: usize = 256 << 10;
/// Most words in a type of fixed size.
const WORDS_MAX: usize = 1024;

/// Why a function, its arguments or what it returned make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(super) enum BadAbi {
    #[error("the function is not written like balanceOf(address)(uint256)")]
    Function,
    #[error("arrays of values without a fixed size, and empty tuples or arrays, are not read")]
    Type,
    #[error("{got} arguments are given, the function takes {takes}")]
    Count { got: usize, takes: usize },
    #[error("argument {index} is not of its type")]
    Argument { index: usize },
    #[error("what is returned is not of the function's types")]
    Returned,
}

/// A function of a contract.
#[derive(Debug)]
pub(super) struct Function {
    selector: [u8; 4],
    takes: Vec<DynSolType>,
    returns: Vec<DynSolType>,
}

impl Function {
    /// Reads `name(types it takes)(types it returns)`.
    pub(super) fn parse(text: &str) -> Result<Self, BadAbi> {
        let open = text.find('(').ok_or(BadAbi::Function)?;
        let (name, types) = text.split_at(open);
        let letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$';
        if name.is_empty() || !name.bytes().all(letter) {
            return Err(BadAbi::Function);
        }
        let (takes, returns) = types.split_at(end_of_group(types).ok_or(BadAbi::Function)?);
        if end_of_group(returns) != Some(returns.len()) {
            return Err(BadAbi::Function);
        }
        let (takes, returns) = (types_of(takes)?, types_of(returns)?);
        if returns.is_empty() {
            return Err(BadAbi::Function);
        }
        let names: Vec<_> = takes.iter().map(|kind| kind.sol_type_name().into_owned()).collect();
        let hash = keccak256(format!("{name}({})", names.join(",")));
        let selector = [hash[0], hash[1], hash[2], hash[3]];
        Ok(Self { selector, takes, returns })
    }

    /// Returns the data of a call.
    pub(super) fn encode(&self, arguments: &[String]) -> Result<Vec<u8>, BadAbi> {
        let (got, takes) = (arguments.len(), self.takes.len());
        if got != takes {
            return Err(BadAbi::Count { got, takes });
        }
        let value = |(index, (kind, text)): (usize, (&DynSolType, &String))| {
            kind.coerce_str(text).map_err(|_| BadAbi::Argument { index })
        };
        let pairs = self.takes.iter().zip(arguments).enumerate();
        let values = pairs.map(value).collect::<Result<Vec<_>, _>>()?;
        Ok([&self.selector[..], &DynSolValue::Tuple(values).abi_encode_params()].concat())
    }

    /// Returns what a call returned: a list with a value for each type.
    pub(super) fn decode(&self, data: &[u8]) -> Result<Value, BadAbi> {
        if data.len() > DATA_BYTES_MAX {
            return Err(BadAbi::Returned);
        }
        let returns = DynSolType::Tuple(self.returns.clone());
        let value = returns.abi_decode_params(data).map_err(|_| BadAbi::Returned)?;
        Ok(json(&value))
    }
}

/// Returns where the group ends that opens at the start of a text.
fn end_of_group(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return (byte == b')').then_some(at + 1);
        }
    }
    None
}

fn types_of(group: &str) -> Result<Vec<DynSolType>, BadAbi> {
    if group == "()" {
        return Ok(Vec::new());
    }
    let DynSolType::Tuple(types) = DynSolType::parse(group).map_err(|_| BadAbi::Function)? else {
        return Err(BadAbi::Function);
    };
    for kind in &types {
        size(kind)?;
    }
    Ok(types)
}

/// Returns the words of a type; `None` if they depend on the value.
///
/// Whoever answers chooses where values point to. An array whose elements all point to one large
/// value would unpack to any size; such types are refused.
fn size(kind: &DynSolType) -> Result<Option<usize>, BadAbi> {
    let words = match kind {
        DynSolType::String | DynSolType::Bytes => return Ok(None),
        DynSolType::Array(of) => {
            size(of)?.ok_or(BadAbi::Type)?;
            return Ok(None);
        }
        DynSolType::FixedArray(of, count) => {
            size(of)?.ok_or(BadAbi::Type)?.checked_mul(*count).ok_or(BadAbi::Type)?
        }
        DynSolType::Tuple(types) => {
            let sizes = types.iter().map(size).collect::<Result<Vec<_>, _>>()?;
            match sizes.into_iter().sum::<Option<usize>>() {
                Some(words) => words,
                None => return Ok(None),
            }
        }
        _ => 1,
    };
    if (1..=WORDS_MAX).contains(&words) { Ok(Some(words)) } else { Err(BadAbi::Type) }
}

/// The one form of a value: numbers as decimal digits in a text, bytes and addresses as `0x…` in
/// lower case.
fn json(value: &DynSolValue) -> Value {
    let hex = |bytes: &[u8]| Value::String(format!("0x{}", hex::encode(bytes)));
    match value {
        DynSolValue::Bool(value) => Value::Bool(*value),
        DynSolValue::Int(value, _) => Value::String(value.to_string()),
        DynSolValue::Uint(value, _) => Value::String(value.to_string()),
        DynSolValue::FixedBytes(word, size) => hex(&word[..*size]),
        DynSolValue::Address(address) => hex(address.as_slice()),
        DynSolValue::Function(function) => hex(function.as_slice()),
        DynSolValue::Bytes(bytes) => hex(bytes),
        DynSolValue::String(text) => Value::String(text.clone()),
        DynSolValue::Array(values)
        | DynSolValue::FixedArray(values)
        | DynSolValue::Tuple(values) => values.iter().map(json).collect(),
    }
}

#[cfg(test)]
mod tests;
