// What a program may import from lux_session_v1, for AssemblyScript.
// The whole interface: docs/wire/guest-abi.md.

// @ts-ignore: decorators
@external("lux_session_v1", "read")
declare function hostRead(ptr: usize, len: u32, out: usize, cap: u32): u32;
// @ts-ignore: decorators
@external("lux_session_v1", "write")
declare function hostWrite(ptr: usize, len: u32, out: usize, cap: u32): u32;
// @ts-ignore: decorators
@external("lux_session_v1", "state_get")
declare function hostStateGet(key: usize, keyLen: u32, out: usize, cap: u32): u32;
// @ts-ignore: decorators
@external("lux_session_v1", "state_put")
declare function hostStatePut(key: usize, keyLen: u32, ptr: usize, len: u32): void;
// @ts-ignore: decorators
@external("lux_session_v1", "emit")
declare function hostEmit(receiver: usize, ptr: usize, len: u32): void;
// @ts-ignore: decorators
@external("lux_session_v1", "log")
declare function hostLog(ptr: usize, len: u32): void;
// @ts-ignore: decorators
@external("lux_session_v1", "random")
declare function hostRandom(out: usize, len: u32): void;
// @ts-ignore: decorators
@external("lux_session_v1", "now")
declare function hostNow(): i64;
// @ts-ignore: decorators
@external("lux_session_v1", "abort")
declare function hostAbort(ptr: usize, len: u32): void;
// @ts-ignore: decorators
@external("lux_session_v1", "input")
declare function hostInput(out: usize, cap: u32): u32;
// @ts-ignore: decorators
@external("lux_session_v1", "output")
declare function hostOutput(ptr: usize, len: u32): void;
// @ts-ignore: decorators
@external("lux_session_v1", "checkpoint")
declare function hostCheckpoint(ptr: usize, len: u32): void;

/** The length of what is not there. */
const NOTHING: u32 = 0xffffffff;
/** Answers of this size are read at once; longer ones take a second call. */
const GUESS: u32 = 4096;

function utf8(text: string): ArrayBuffer {
  return String.UTF8.encode(text);
}

function at(bytes: ArrayBuffer): usize {
  return changetype<usize>(bytes);
}

function size(bytes: ArrayBuffer): u32 {
  return <u32>bytes.byteLength;
}

/** What the world answered. */
export class Answer {
  /** Whether it is an answer; otherwise `text` says why there is none. */
  ok: bool;
  bytes: ArrayBuffer;

  constructor(raw: ArrayBuffer, length: u32) {
    this.ok = length > 0 && load<u8>(at(raw)) == 0;
    this.bytes = length > 0 ? raw.slice(1, <i32>length) : new ArrayBuffer(0);
  }

  get text(): string {
    return String.UTF8.decode(this.bytes);
  }
}

/** A request: a source of the manifest, its parameters, and the body of a write. */
export class Request {
  private params: string = "";
  private content: string = "";

  constructor(private source: string) {}

  param(name: string, value: string): Request {
    this.params += (this.params.length ? "," : "") + quote(name) + ":" + quote(value);
    return this;
  }

  body(text: string): Request {
    this.content = ',"body":' + quote(text);
    return this;
  }

  private json(): ArrayBuffer {
    return utf8('{"source":' + quote(this.source) + ',"params":{' + this.params + "}" + this.content + "}");
  }

  /** Reads the world: waits until the committee agrees on what it sees. */
  read(): Answer {
    const request = this.json();
    let out = new ArrayBuffer(GUESS);
    const length = hostRead(at(request), size(request), at(out), GUESS);
    if (length > GUESS) {
      out = new ArrayBuffer(length);
      hostRead(0, 0, at(out), length);
    }
    return new Answer(out, length);
  }

  /** Changes the world: once, by one member, after the committee agreed that it shall be. */
  write(): Answer {
    const request = this.json();
    let out = new ArrayBuffer(GUESS);
    const length = hostWrite(at(request), size(request), at(out), GUESS);
    if (length > GUESS) {
      out = new ArrayBuffer(length);
      hostWrite(0, 0, at(out), length);
    }
    return new Answer(out, length);
  }
}

/** Returns the input of the session. */
export function input(): string {
  const length = hostInput(0, 0);
  const out = new ArrayBuffer(length);
  hostInput(at(out), length);
  return String.UTF8.decode(out);
}

/** Sets what the session ends with; the last one counts. */
export function output(text: string): void {
  const bytes = utf8(text);
  hostOutput(at(bytes), size(bytes));
}

/** Writes a line of the log. */
export function log(text: string): void {
  const bytes = utf8(text);
  hostLog(at(bytes), size(bytes));
}

/** Ends the session as failed. */
export function fail(why: string): void {
  const bytes = utf8(why);
  hostAbort(at(bytes), size(bytes));
}

/** Returns the time on which the committee agreed last, in milliseconds. */
export function now(): i64 {
  return hostNow();
}

/** Returns random bytes, the same for every member and unknown before the session was created. */
export function random(length: u32): ArrayBuffer {
  const out = new ArrayBuffer(length);
  hostRandom(at(out), length);
  return out;
}

/** Returns what is kept under a name, or null. */
export function get(name: string): string | null {
  const key = utf8(name);
  const length = hostStateGet(at(key), size(key), 0, 0);
  if (length == NOTHING) return null;
  const out = new ArrayBuffer(length);
  hostStateGet(at(key), size(key), at(out), length);
  return String.UTF8.decode(out);
}

/** Keeps something under a name. */
export function put(name: string, value: string): void {
  const key = utf8(name);
  const bytes = utf8(value);
  hostStatePut(at(key), size(key), at(bytes), size(bytes));
}

/** Says that a message was delivered: `receiver` holds 32 bytes. The session relays its receipt. */
export function emit(receiver: ArrayBuffer, message: string): void {
  const bytes = utf8(message);
  hostEmit(at(receiver), at(bytes), size(bytes));
}

/** Goes on as new: `run` is called again, with fresh fuel and with what was kept. */
export function checkpoint(): void {
  hostCheckpoint(0, 0);
}

/** Returns a text as JSON. */
export function quote(text: string): string {
  let out = '"';
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code == 0x22) out += '\\"';
    else if (code == 0x5c) out += "\\\\";
    else if (code < 0x20) out += "\\u00" + (code < 0x10 ? "0" : "1") + "0123456789abcdef".charAt(code & 15);
    else out += text.charAt(i);
  }
  return out + '"';
}

/** What AssemblyScript calls when it fails: the build line names it. */
export function onAbort(message: string | null, file: string | null, line: u32, column: u32): void {
  fail((message ? message : "failed") + " at " + (file ? file : "?") + ":" + line.toString());
}
