//! The functions of `lux_session_v1`. `docs/wire/guest-abi.md` says what each one does.

use std::sync::Arc;

use session_core::{Domain, digest, sha256};
use session_protocol::workload::OUTPUT_BYTES_MAX;
use session_protocol::workload::oracle::RequestKind;
use wasmi::{AsContextMut as _, Caller, Engine, Error, Extern, Linker, StoreContextMut};

use super::Emitted;
use super::bounds::{
    COPY_FUEL, EMITTED_MAX, HASH_FUEL, KEY_BYTES_MAX, LINE_BYTES_MAX, MESSAGE_BYTES_MAX,
    REASON_BYTES_MAX, REQUEST_BYTES_MAX,
};
use super::host::{Halt, Host, answer, charge, check_room, fetch_answer, give, outside};
use crate::call;

/// The module that programs import.
pub const MODULE: &str = "lux_session_v1";
/// What `state_get` returns for what is not there, and what `state_put` takes to remove something.
const NOTHING: u32 = u32::MAX;

/// A type of numbers that the interface uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NumberType {
    /// `i32`.
    I32,
    /// `i64`.
    I64,
}

/// A function that programs may import; its parameters are all `i32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Import {
    /// Its name.
    pub name: &'static str,
    /// Its parameters, by name.
    pub parameters: &'static [&'static str],
    /// What it returns.
    pub result: Option<NumberType>,
}

/// Every function that programs may import.
pub const IMPORTS: &[Import] = &[
    import("read", &["ptr", "len", "out", "cap"], Some(NumberType::I32)),
    import("write", &["ptr", "len", "out", "cap"], Some(NumberType::I32)),
    import("state_get", &["key", "key_len", "out", "cap"], Some(NumberType::I32)),
    import("state_put", &["key", "key_len", "ptr", "len"], None),
    import("emit", &["receiver", "ptr", "len"], None),
    import("log", &["ptr", "len"], None),
    import("random", &["out", "len"], None),
    import("now", &[], Some(NumberType::I64)),
    import("abort", &["ptr", "len"], None),
    import("input", &["out", "cap"], Some(NumberType::I32)),
    import("output", &["ptr", "len"], None),
    import("checkpoint", &["ptr", "len"], None),
];

const fn import(
    name: &'static str,
    parameters: &'static [&'static str],
    result: Option<NumberType>,
) -> Import {
    Import { name, parameters, result }
}

type Guest<'a> = Caller<'a, Host>;
type Cx<'a> = StoreContextMut<'a, Host>;

/// Returns our functions for one engine.
pub(super) fn linker(engine: &Engine) -> Linker<Host> {
    let mut linker = Linker::new(engine);
    define(&mut linker).expect("names are defined once, for this engine");
    linker
}

fn define(linker: &mut Linker<Host>) -> Result<(), Error> {
    linker.func_wrap(
        MODULE,
        "read",
        |mut guest: Guest<'_>, ptr: u32, len: u32, out: u32, cap: u32| {
            enter(&mut guest, |cx| ask(cx, RequestKind::Read, (ptr, len), (out, cap)))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "write",
        |mut guest: Guest<'_>, ptr: u32, len: u32, out: u32, cap: u32| {
            enter(&mut guest, |cx| ask(cx, RequestKind::Write, (ptr, len), (out, cap)))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "state_get",
        |mut guest: Guest<'_>, key: u32, key_len: u32, out: u32, cap: u32| {
            enter(&mut guest, |cx| state_get(cx, (key, key_len), (out, cap)))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "state_put",
        |mut guest: Guest<'_>, key: u32, key_len: u32, ptr: u32, len: u32| {
            enter(&mut guest, |cx| state_put(cx, (key, key_len), (ptr, len)))
        },
    )?;
    linker.func_wrap(
        MODULE,
        "emit",
        |mut guest: Guest<'_>, receiver: u32, ptr: u32, len: u32| {
            enter(&mut guest, |cx| emit(cx, receiver, (ptr, len)))
        },
    )?;
    linker.func_wrap(MODULE, "log", |mut guest: Guest<'_>, ptr: u32, len: u32| {
        enter(&mut guest, |cx| log(cx, (ptr, len)))
    })?;
    linker.func_wrap(MODULE, "random", |mut guest: Guest<'_>, out: u32, len: u32| {
        enter(&mut guest, |cx| random(cx, (out, len)))
    })?;
    linker.func_wrap(MODULE, "now", |mut guest: Guest<'_>| enter(&mut guest, now))?;
    linker.func_wrap(MODULE, "abort", |mut guest: Guest<'_>, ptr: u32, len: u32| {
        enter(&mut guest, |cx| abort(cx, (ptr, len)))
    })?;
    linker.func_wrap(MODULE, "input", |mut guest: Guest<'_>, out: u32, cap: u32| {
        enter(&mut guest, |cx| input(cx, (out, cap)))
    })?;
    linker.func_wrap(MODULE, "output", |mut guest: Guest<'_>, ptr: u32, len: u32| {
        enter(&mut guest, |cx| output(cx, (ptr, len)))
    })?;
    linker.func_wrap(MODULE, "checkpoint", |mut guest: Guest<'_>, ptr: u32, len: u32| {
        enter(&mut guest, |cx| checkpoint(cx, (ptr, len)))
    })?;
    Ok(())
}

/// Does what one of our functions does, once the program's memory is known.
fn enter<T>(
    guest: &mut Guest<'_>,
    act: impl FnOnce(&mut Cx<'_>) -> Result<T, Halt>,
) -> Result<T, Error> {
    if guest.data().memory.is_none() {
        let memory = guest.get_export("memory").and_then(Extern::into_memory);
        guest.data_mut().memory = memory;
    }
    act(&mut guest.as_context_mut()).map_err(Error::host)
}

/// Copies bytes of the program, at most so many.
fn take(
    cx: &mut Cx<'_>,
    (pointer, length): (u32, u32),
    (what, bytes_max): (&str, usize),
    fuel: u64,
) -> Result<Vec<u8>, Halt> {
    let length = length as usize;
    if length > bytes_max {
        return Err(Halt::failed(format!("{what} of {length} bytes, the limit is {bytes_max}")));
    }
    charge(cx, length, fuel)?;
    let memory = cx.data().memory.ok_or_else(outside)?;
    let start = pointer as usize;
    let bytes = memory.data(&*cx).get(start..start + length).ok_or_else(outside)?;
    Ok(bytes.to_vec())
}

fn ask(
    cx: &mut Cx<'_>,
    kind: RequestKind,
    request: (u32, u32),
    buffer: (u32, u32),
) -> Result<u32, Halt> {
    if request.1 == 0 {
        return fetch_answer(cx, buffer);
    }
    let request = take(cx, request, ("a request", REQUEST_BYTES_MAX), HASH_FUEL)?;
    refuse_at_start(cx, "asks the world")?;
    let session = cx.data_mut().of_session()?;
    session.may_ask()?;
    let call = call::parse(session.manifest(), kind, &request)
        .map_err(|error| Halt::failed(format!("a bad request: {error}")))?;
    session.buffer = buffer;
    // The world is not asked for what cannot be told.
    check_room(cx, buffer)?;
    match answer(cx)? {
        Some(length) => Ok(length),
        None => Err(Halt::Asks { kind, call }),
    }
}

fn refuse_at_start(cx: &Cx<'_>, what: &str) -> Result<(), Halt> {
    if cx.data().starting {
        return Err(Halt::failed(format!("the start function {what}")));
    }
    Ok(())
}

fn state_get(cx: &mut Cx<'_>, key: (u32, u32), buffer: (u32, u32)) -> Result<u32, Halt> {
    let key = take(cx, key, ("a key", KEY_BYTES_MAX), COPY_FUEL)?;
    let state = Arc::clone(&cx.data_mut().of_session()?.state);
    match state.get(&key) {
        Some(value) => give(cx, value, buffer.0, buffer.1),
        None => Ok(NOTHING),
    }
}

fn state_put(cx: &mut Cx<'_>, key: (u32, u32), value: (u32, u32)) -> Result<(), Halt> {
    let key = take(cx, key, ("a key", KEY_BYTES_MAX), COPY_FUEL)?;
    let limit = cx.data_mut().of_session()?.manifest().limits.state_bytes;
    let value = match value.1 {
        NOTHING => None,
        _ => Some(take(cx, value, ("a value", limit as usize), COPY_FUEL)?),
    };
    keep(cx, key, value)
}

/// Keeps a value, or removes it.
fn keep(cx: &mut Cx<'_>, key: Vec<u8>, value: Option<Vec<u8>>) -> Result<(), Halt> {
    let session = cx.data_mut().of_session()?;
    let limit = session.manifest().limits.state_bytes;
    let key_bytes = key.len() as u64;
    let weight = |value: Option<&Vec<u8>>| value.map_or(0, |value| key_bytes + value.len() as u64);
    let added = weight(value.as_ref());
    let before = weight(session.state.get(&key));
    let bytes = session.state_bytes - before + added;
    if bytes > limit.into() {
        return Err(Halt::failed(format!("a state of {bytes} bytes, the limit is {limit}")));
    }
    session.state_bytes = bytes;
    let state = Arc::make_mut(&mut session.state);
    match value {
        Some(value) => state.insert(key, value),
        None => state.remove(&key),
    };
    Ok(())
}

fn emit(cx: &mut Cx<'_>, receiver: u32, message: (u32, u32)) -> Result<(), Halt> {
    let receiver = take(cx, (receiver, 32), ("a receiver", 32), COPY_FUEL)?;
    let message = take(cx, message, ("a message", MESSAGE_BYTES_MAX), HASH_FUEL)?;
    let session = cx.data_mut().of_session()?;
    if session.emitted_before + session.emitted.len() >= EMITTED_MAX {
        return Err(Halt::failed(format!("more than {EMITTED_MAX} messages")));
    }
    let receiver = receiver.try_into().expect("32 bytes were taken");
    session.emitted.push(Emitted { receiver, message_hash: sha256(&message).into() });
    Ok(())
}

fn log(cx: &mut Cx<'_>, (pointer, length): (u32, u32)) -> Result<(), Halt> {
    // One byte more, so that a longer line is cut at a whole character.
    let length = length.min(LINE_BYTES_MAX as u32 + 1);
    let line = take(cx, (pointer, length), ("a line", LINE_BYTES_MAX + 1), COPY_FUEL)?;
    cx.data_mut().log.push(&line);
    Ok(())
}

fn random(cx: &mut Cx<'_>, buffer: (u32, u32)) -> Result<(), Halt> {
    let length = buffer.1 as usize;
    charge(cx, length, HASH_FUEL)?;
    check_room(cx, buffer)?;
    let session = cx.data_mut().of_session()?;
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let counter = u64::from(session.segment) << 32 | u64::from(session.drawn);
        session.drawn = session.drawn.wrapping_add(1);
        let facts = &session.facts;
        let parts: [&[u8]; 3] =
            [facts.randomness.as_bytes(), facts.session.as_bytes(), &counter.to_be_bytes()];
        bytes.extend_from_slice(digest(Domain::SessionRandom, &parts).as_bytes());
    }
    bytes.truncate(length);
    give(cx, &bytes, buffer.0, buffer.1).map(drop)
}

fn now(cx: &mut Cx<'_>) -> Result<i64, Halt> {
    charge(cx, 0, COPY_FUEL)?;
    let now = cx.data_mut().of_session()?.now.as_millis();
    Ok(i64::try_from(now).unwrap_or(i64::MAX))
}

fn abort(cx: &mut Cx<'_>, (pointer, length): (u32, u32)) -> Result<(), Halt> {
    let length = length.min(REASON_BYTES_MAX as u32);
    let why = take(cx, (pointer, length), ("a reason", REASON_BYTES_MAX), COPY_FUEL)?;
    Err(Halt::failed(format!("aborted: {}", String::from_utf8_lossy(&why))))
}

fn input(cx: &mut Cx<'_>, buffer: (u32, u32)) -> Result<u32, Halt> {
    let input = Arc::clone(&cx.data().input);
    give(cx, &input, buffer.0, buffer.1)
}

fn output(cx: &mut Cx<'_>, output: (u32, u32)) -> Result<(), Halt> {
    cx.data_mut().output = take(cx, output, ("an output", OUTPUT_BYTES_MAX), COPY_FUEL)?;
    Ok(())
}

fn checkpoint(cx: &mut Cx<'_>, state: (u32, u32)) -> Result<(), Halt> {
    refuse_at_start(cx, "makes a checkpoint")?;
    let limit = cx.data_mut().of_session()?.manifest().limits.state_bytes;
    let value = take(cx, state, ("a value", limit as usize), COPY_FUEL)?;
    keep(cx, Vec::new(), Some(value))?;
    Err(Halt::Checkpoint)
}
