import { fail, input, log, output, Request } from "./lux";

/** Prices have at most so many digits behind the point; there are no floats here. */
const DIGITS: i32 = 8;

const SOURCES = ["north", "east", "south", "west"];

/** The fewest sources of which a median says something. */
const SOURCES_MIN: i32 = 3;

/** Reads a decimal, with or without quotes around it; -1 if it is none. */
function parse(text: string): i64 {
  let value: i64 = 0;
  let behind: i32 = -1;
  let digits: i32 = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code == 0x22) continue;
    if (code == 0x2e && behind < 0) {
      behind = 0;
    } else if (code >= 0x30 && code <= 0x39 && digits < 18) {
      if (behind >= DIGITS) continue;
      value = value * 10 + (code - 0x30);
      if (behind >= 0) behind++;
      digits++;
    } else {
      return -1;
    }
  }
  if (digits == 0) return -1;
  for (let i = behind < 0 ? 0 : behind; i < DIGITS; i++) value *= 10;
  return value;
}

function show(value: i64): string {
  const one: i64 = 100000000;
  return (value / one).toString() + "." + (value % one).toString().padStart(DIGITS, "0");
}

export function run(): void {
  const pair = input().trim();
  const prices: i64[] = [];
  for (let i = 0; i < SOURCES.length; i++) {
    const source = SOURCES[i];
    const answer = new Request(source).param("pair", pair).read();
    const price = answer.ok ? parse(answer.text) : -1;
    if (price < 0) {
      log(source + " is left out: " + answer.text);
      continue;
    }
    log(source + " says " + show(price));
    prices.push(price);
  }
  if (prices.length < SOURCES_MIN) {
    fail("only " + prices.length.toString() + " sources agreed on a price");
  }
  prices.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  const median = prices[(prices.length - 1) / 2];
  output('{"pair":"' + pair + '","median":"' + show(median) + '","sources":' + prices.length.toString() + "}");
}
