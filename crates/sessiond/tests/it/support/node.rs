use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use session_core::NodeId;
use session_protocol::Membership as _;
use session_protocol::network_file::membership;
use session_rpc::NetworkFile;
use tempfile::TempDir;

/// Far above what anything here takes; a hang must not hang the tests.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Where the program is: said to tests; an example looks above itself.
pub(super) fn program() -> PathBuf {
    let said = option_env!("CARGO_BIN_EXE_sessiond").map(PathBuf::from);
    said.unwrap_or_else(|| {
        let me = std::env::current_exe().unwrap();
        me.ancestors().nth(2).unwrap().join("sessiond")
    })
}

/// Returns a command that runs the program.
pub(crate) fn sessiond(args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(args).env_remove("SESSION_PASSPHRASE").env_remove("SESSION_LOG");
    command.stdin(Stdio::null());
    command
}

/// A directory with one node's keys and the network file of a network of that node.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let place = Self { dir: TempDir::new().unwrap() };
        let output = place.keygen();
        assert!(output.status.success(), "{output:?}");
        let entry = String::from_utf8(output.stdout).unwrap();
        std::fs::write(place.network_file(), format!("network = \"test\"\n\n{entry}")).unwrap();
        place
    }

    pub(crate) fn keygen(&self) -> Output {
        let data = self.data_dir();
        // Nobody dials it: port 1 stands for wherever the node really listens.
        let args = ["keygen", "--data-dir", data.to_str().unwrap(), "--address", "127.0.0.1:1"];
        sessiond(&args).output().unwrap()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn network_file(&self) -> PathBuf {
        self.dir.path().join("network.toml")
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn node_id(&self) -> NodeId {
        let text = std::fs::read_to_string(self.network_file()).unwrap();
        let (file, _) = NetworkFile::parse(&text).unwrap();
        membership(&file).unwrap().nodes()[0].0
    }

    /// Returns the arguments that start the node of this place on free ports.
    pub(crate) fn args(&self) -> Vec<String> {
        let (data, network) = (self.data_dir(), self.network_file());
        ["-listen", "127.0.0.1:0", "-http", "127.0.0.1:0", "-data-dir"]
            .into_iter()
            .map(str::to_owned)
            .chain([
                data.display().to_string(),
                "-network".to_owned(),
                network.display().to_string(),
            ])
            .collect()
    }

    pub(crate) fn start(&self) -> Node {
        self.start_with(&[])
    }

    pub(crate) fn start_with(&self, more: &[&str]) -> Node {
        let args = self.args();
        let args: Vec<&str> = args.iter().map(String::as_str).chain(more.iter().copied()).collect();
        Node::start(sessiond(&args))
    }
}

/// A running node; killed when dropped.
pub(crate) struct Node {
    child: Child,
    pub(crate) udp: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Node {
    /// Starts the program and waits until it says where it listens.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut listening = |what: &str| {
            let line = lines.next().and_then(Result::ok).unwrap_or_default();
            let address = line.strip_prefix(&format!("listening on {what} ")).map(str::parse);
            address.and_then(Result::ok)
        };
        let (udp, http) = (listening("udp"), listening("http"));
        match (udp, http) {
            (Some(udp), Some(http)) => {
                // Somebody must read what it logs, or it would wait for them.
                let mut stderr = child.stderr.take().unwrap();
                std::thread::spawn(move || stderr.read_to_end(&mut Vec::new()));
                Self { child, udp, http }
            }
            _ => panic!("it does not listen: {:?}", child.wait_with_output()),
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    #[allow(dead_code)] // the example uses it
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn close_stdin(&mut self) {
        drop(self.child.stdin.take());
    }

    /// Waits for the end and returns how long it took.
    #[allow(clippy::disallowed_methods)] // a stopwatch
    pub(crate) fn wait(&mut self) -> (ExitStatus, Duration) {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, begun.elapsed());
            }
            assert!(begun.elapsed() < TIMEOUT, "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Fails only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
