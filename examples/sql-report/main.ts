import { fail, input, log, output, Request } from "./lux";

/** Reads the rows that a database answers: `[{"region":"east","orders":1},…]`, values in order. */
class Rows {
  private at: i32 = 0;
  lines: string[] = [];

  constructor(private json: string) {
    let line = "";
    let isName = false;
    while (this.at < this.json.length) {
      const code = this.json.charCodeAt(this.at);
      if (code == 0x7b) {
        line = "";
        isName = true;
        this.at++;
      } else if (code == 0x7d) {
        this.lines.push(line);
        this.at++;
      } else if (code == 0x3a) {
        isName = false;
        this.at++;
      } else if (code == 0x2c) {
        isName = true;
        this.at++;
      } else if (code == 0x5b || code == 0x5d) {
        this.at++;
      } else {
        const value = this.value();
        if (!isName) line += (line.length ? "," : "") + value;
      }
    }
  }

  /** A text or a number; what a comma or a quote would break, stays in quotes. */
  private value(): string {
    const start = this.at;
    if (this.json.charCodeAt(start) != 0x22) {
      while (this.at < this.json.length && ",}]".indexOf(this.json.charAt(this.at)) < 0) this.at++;
      return this.json.slice(start, this.at);
    }
    this.at++;
    let plain = true;
    while (this.at < this.json.length && this.json.charCodeAt(this.at) != 0x22) {
      if (this.json.charCodeAt(this.at) == 0x5c) this.at++;
      plain = plain && ",\\".indexOf(this.json.charAt(this.at)) < 0;
      this.at++;
    }
    this.at++;
    return plain ? this.json.slice(start + 1, this.at - 1) : this.json.slice(start, this.at);
  }
}

export function run(): void {
  const day = input().trim();
  const answer = new Request("orders").param("day", day).read();
  if (!answer.ok) fail("no orders: " + answer.text);
  const rows = new Rows(answer.text).lines;
  log(rows.length.toString() + " regions had orders on " + day);
  const report = "region,orders,cents\n" + rows.join("\n") + "\n";
  const written = new Request("report").param("day", day).body(report).write();
  if (!written.ok) fail("the report was not written: " + written.text);
  output(report);
}
