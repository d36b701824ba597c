//! A server that keeps a ledger of writes, and holds back the first answer.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::committee::NODE_HEADER;

/// A hang must not hang the tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// What has arrived, and what came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    /// Node and key of each request, as they came.
    pub(crate) requests: Vec<(usize, String)>,
    /// Key and body of each effect.
    pub(crate) effects: Vec<(String, String)>,
}

/// See the [module](self).
pub(crate) struct Ledger {
    pub(crate) http: SocketAddr,
    page: Arc<Mutex<Page>>,
    first: Receiver<usize>,
}

impl Ledger {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (http, page) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Page::default())));
        let (tell, first) = channel();
        let shared = Arc::clone(&page);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (page, tell) = (Arc::clone(&shared), tell.clone());
                std::thread::spawn(move || drop(serve(stream, &page, &tell)));
            }
        });
        Self { http, page, first }
    }

    /// Waits for the first write, whose answer is held back; returns the node.
    pub(crate) fn first_writer(&self) -> usize {
        self.first.recv_timeout(PATIENCE).unwrap()
    }

    pub(crate) fn page(&self) -> Page {
        self.page.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, page: &Mutex<Page>, tell: &Sender<usize>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let (mut node, mut key, mut length) = (usize::MAX, String::new(), 0);
    let mut line = String::new();
    while reader.read_line(&mut line)? > 2 {
        let (name, value) = line.trim_end().split_once(": ").unwrap_or_default();
        match name.to_ascii_lowercase().as_str() {
            NODE_HEADER => node = value.parse().unwrap_or(node),
            "idempotency-key" => value.clone_into(&mut key),
            "content-length" => length = value.parse().unwrap_or(0),
            _ => {}
        }
        line.clear();
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let (is_first, number) = {
        let mut page = page.lock().unwrap();
        page.requests.push((node, key.clone()));
        let known = page.effects.iter().position(|(done, _)| *done == key);
        if known.is_none() {
            page.effects.push((key, String::from_utf8_lossy(&body).into_owned()));
        }
        (page.requests.len() == 1, known.unwrap_or(page.effects.len() - 1))
    };
    if is_first {
        // Whoever waits to be told may have given up. There is no answer: the writer is to go.
        let _ = tell.send(node);
        return reader.read_to_end(&mut Vec::new()).map(drop);
    }
    let body = format!("entry {number}");
    let length = body.len();
    write!(stream, "HTTP/1.1 201 Created\r\ncontent-length: {length}\r\n\r\n{body}")
}
