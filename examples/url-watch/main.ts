import { checkpoint, fail, get, input, log, output, put, Request } from "./lux";

/** What a person gets to read of a page. */
const SHOWN: i32 = 200;

/**
 * The input has two lines: the account that is told, and how often the page is looked at.
 *
 * Each look ends with a checkpoint: the program begins again, with fresh fuel and with what it
 * kept. A session ends with its time; the next one takes the last page over as a third line.
 */
export function run(): void {
  const lines = input().split("\n");
  if (lines.length < 2) fail("the input needs two lines: an account, and a number of looks");
  const looks = I32.parseInt(lines[1]);
  const kept = get("looks");
  const done = kept === null ? 0 : I32.parseInt(kept);

  const answer = new Request("page").read();
  if (answer.ok) {
    let before = get("page");
    if (before === null && lines.length > 2) before = lines[2];
    if (before !== null && before != answer.text) tell(lines[0], before, answer.text);
    put("page", answer.text);
  } else {
    log("no page: " + answer.text);
  }

  put("looks", (done + 1).toString());
  if (done + 1 < looks) checkpoint();
  const changes = get("changes");
  const page = get("page");
  output((changes === null ? "0" : changes) + " changes\n" + (page === null ? "" : page));
}

function tell(to: string, before: string, after: string): void {
  log("the page changed");
  const text = "The page changed from \"" + before.slice(0, SHOWN) + "\" to \"" + after.slice(0, SHOWN) + "\"";
  const sent = new Request("tell").param("to", to).body(text).write();
  log(sent.ok ? "the owner was told" : "the owner was not told: " + sent.text);
  const changes = get("changes");
  put("changes", ((changes === null ? 0 : I32.parseInt(changes)) + 1).toString());
}
