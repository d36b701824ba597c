//! The page at `/`: what the chain is doing, for somebody with a browser.
//!
//! It is made on the server, runs no script and loads nothing: the policy sent with it forbids
//! both.

use std::fmt::Write as _;

use session_core::Time;
use session_rpc::vm::rfc3339;
use session_runtime::http::Response;

/// Blocks on the page.
pub(crate) const BLOCKS_MAX: u64 = 20;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;\
    color:#1a1a1a;background:#fff}h1{font-size:1.4em}dl{display:grid;grid-template-columns:max-content 1fr;\
    gap:.2em 1.5em}dt{color:#666}dd{margin:0}table{border-collapse:collapse;width:100%}th,td{text-align:left;\
    padding:.3em .8em .3em 0;border-bottom:1px solid #ddd}td.n{text-align:right}code{font-size:.9em;\
    word-break:break-all}@media(prefers-color-scheme:dark){body{color:#ddd;background:#161616}th,td{border-color:#333}\
    dt{color:#999}}";

/// What the page shows.
pub(crate) struct Page {
    pub(crate) network: String,
    pub(crate) chain: String,
    pub(crate) role: &'static str,
    pub(crate) version: String,
    pub(crate) facts: Vec<(&'static str, String)>,
    pub(crate) tables: Vec<Table>,
    pub(crate) blocks: Vec<Row>,
}

/// A table besides that of blocks.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) head: &'static [&'static str],
    pub(crate) rows: Vec<Vec<String>>,
    /// What follows it, when some rows were left out.
    pub(crate) note: Option<String>,
}

/// A line of the table of blocks.
pub(crate) struct Row {
    pub(crate) height: u64,
    pub(crate) id: String,
    pub(crate) time: Time,
    pub(crate) transactions: usize,
    pub(crate) bytes: usize,
}

impl Page {
    /// Makes the response.
    pub(crate) fn into_response(self) -> Response {
        Response::new(200, "text/html; charset=utf-8", self.html())
            .with_header(
                "content-security-policy",
                "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; \
                 form-action 'none'; frame-ancestors 'none'",
            )
            .with_header("x-content-type-options", "nosniff")
            .with_header("referrer-policy", "no-referrer")
    }

    fn html(&self) -> String {
        let mut out =
            String::from("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
        let network = escape(&self.network);
        // Writing to a String cannot fail.
        let _ = write!(
            out,
            "<meta http-equiv=\"refresh\" content=\"5\"><meta name=\"viewport\" \
             content=\"width=device-width\"><title>{network}: SessionVM</title><style>{STYLE}</style>\
             </head><body><h1>{network}</h1><dl><dt>chain</dt><dd><code>{}</code></dd>\
             <dt>role</dt><dd>{}</dd>",
            escape(&self.chain),
            self.role,
        );
        for (name, value) in &self.facts {
            let _ = write!(out, "<dt>{name}</dt><dd>{}</dd>", escape(value));
        }
        out.push_str("</dl>");
        for table in &self.tables {
            table.write(&mut out);
        }
        out.push_str(
            "<h2>Last blocks</h2><table><thead><tr><th>height</th><th>time</th>\
             <th>transactions</th><th>bytes</th><th>id</th></tr></thead><tbody>",
        );
        for row in &self.blocks {
            let _ = write!(
                out,
                "<tr><td class=\"n\">{}</td><td>{}</td><td class=\"n\">{}</td>\
                 <td class=\"n\">{}</td><td><code>{}</code></td></tr>",
                row.height,
                rfc3339::format(row.time),
                row.transactions,
                row.bytes,
                escape(&row.id),
            );
        }
        let _ = write!(
            out,
            "</tbody></table><p>sessionvm {}. JSON-RPC 2.0 at <code>/rpc</code>, WebSocket at \
             <code>/ws</code>, <code>/health</code>, <code>/metrics</code>.</p></body></html>",
            escape(&self.version),
        );
        out
    }
}

impl Table {
    fn write(&self, out: &mut String) {
        let _ = write!(out, "<h2>{}</h2><table><thead><tr>", self.name);
        for name in self.head {
            let _ = write!(out, "<th>{name}</th>");
        }
        out.push_str("</tr></thead><tbody>");
        for row in &self.rows {
            out.push_str("<tr>");
            for cell in row {
                let _ = write!(out, "<td>{}</td>", escape(cell));
            }
            out.push_str("</tr>");
        }
        out.push_str("</tbody></table>");
        if let Some(note) = &self.note {
            let _ = write!(out, "<p>{}</p>", escape(note));
        }
    }
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(network: &str) -> String {
        let row = Row { height: 7, id: "ab".into(), time: Time::ZERO, transactions: 2, bytes: 9 };
        Page {
            network: network.to_owned(),
            chain: "cc".to_owned(),
            role: "sequencer",
            version: "1".to_owned(),
            facts: vec![("height", "7".to_owned())],
            tables: vec![Table {
                name: "Swarms",
                head: &["swarm"],
                rows: vec![vec![network.to_owned()]],
                note: Some(network.to_owned()),
            }],
            blocks: vec![row],
        }
        .html()
    }

    #[test]
    fn it_shows_the_blocks_and_loads_nothing() {
        let html = page("test");
        assert!(html.contains("<td class=\"n\">7</td>") && html.contains("<dt>height</dt><dd>7"));
        for forbidden in ["<script", "src=", "href=", "http://", "https://", "url("] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn names_from_outside_cannot_become_markup() {
        let html = page("<img onerror='x'>&\"");
        assert!(html.contains("&lt;img onerror=&#39;x&#39;&gt;&amp;&quot;"));
        assert!(!html.contains("<img"));
    }
}
