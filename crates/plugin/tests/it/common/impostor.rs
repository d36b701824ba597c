use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use session_core::{Blob, ChainId, Encode as _, SeededEntropy};
use session_crypto::Signer;
use session_protocol::chain::block::Sealed;
use session_protocol::chain::{Block, SealedBlock};

/// Answers requests for blocks with whatever the test gives it.
pub(crate) struct Impostor {
    pub(crate) address: SocketAddr,
    blocks: Arc<Mutex<BTreeMap<u64, Vec<u8>>>>,
}

impl Impostor {
    /// Says that it is of `chain`.
    pub(crate) fn new(chain: ChainId) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let blocks = Arc::new(Mutex::new(BTreeMap::<u64, Vec<u8>>::new()));
        let served = Arc::clone(&blocks);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mut reader = BufReader::new(stream);
                let mut line = String::new();
                let _ = reader.read_line(&mut line);
                loop {
                    let mut header = String::new();
                    match reader.read_line(&mut header) {
                        Ok(count) if count > 2 => {}
                        _ => break,
                    }
                }
                let height =
                    line.strip_prefix("GET /blocks/").and_then(|rest| rest.split('?').next());
                let height = height.and_then(|height| height.parse::<u64>().ok());
                let block = height.and_then(|height| served.lock().unwrap().get(&height).cloned());
                if height.is_some() && block.is_none() {
                    std::thread::sleep(Duration::from_millis(20));
                }
                let (status, body) = if line.starts_with("GET /health ") {
                    (200, format!(r#"{{"chainId":"{chain}"}}"#).into_bytes())
                } else {
                    block.map_or((204, Vec::new()), |block| (200, block))
                };
                let head = format!(
                    "HTTP/1.1 {status} x\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                    body.len()
                );
                let stream = reader.get_mut();
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
            }
        });
        Self { address, blocks }
    }

    /// Serves bytes for a height.
    pub(crate) fn serve(&self, height: u64, bytes: Vec<u8>) {
        self.blocks.lock().unwrap().insert(height, bytes);
    }

    /// Serves a block, sealed by `sealer`.
    pub(crate) fn seal(&self, block: &Block, sealer: &dyn Signer) {
        let sealed = Sealed { chain: block.chain, height: block.height, block: block.id() };
        let seal = sealed.sign(sealer, &mut SeededEntropy::new(block.height));
        let bytes = Blob::new(block.to_bytes()).unwrap();
        self.serve(block.height, SealedBlock { block: bytes, seal }.to_bytes());
    }
}
