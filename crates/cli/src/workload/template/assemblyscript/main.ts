import { fail, input, log, output, Request } from "./lux";

/** Where the program begins. It is run by every member of the committee, and must do the same. */
export function run(): void {
  const symbol = input().trim();
  const answer = new Request("price").param("symbol", symbol).read();
  if (!answer.ok) {
    fail("no price: " + answer.text);
  }
  log("the committee agreed on " + answer.text);
  output(symbol + " " + answer.text);
}
