//! A PostgreSQL of one test: started in a directory of its own, reached over a socket in there.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Where Debian puts the programs, by version.
const DEBIAN: &str = "/usr/lib/postgresql";

pub(super) struct Cluster {
    programs: PathBuf,
    dir: TempDir,
    user: Option<(u32, u32)>,
    child: Child,
}

impl Cluster {
    /// Starts a cluster; `None` where no PostgreSQL is installed, which CI does not allow.
    pub(super) fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            let why = "no PostgreSQL is installed (initdb in PATH or in /usr/lib/postgresql/*/bin)";
            assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "{why}");
            eprintln!("not tested: {why}");
            return None;
        };
        let dir = TempDir::new().unwrap();
        // PostgreSQL refuses to run as root.
        let user = is_root().then(unprivileged);
        if let Some((user, group)) = user {
            chown(dir.path(), Some(user), Some(group)).unwrap();
        }
        let data = dir.path().join("data");
        let run = |program: &str| command(&programs, program, user);
        let output = run("initdb")
            .args(["--auth=trust", "--username=root", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .arg("--pgdata")
            .arg(&data)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let child = run("postgres")
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=", "-c", "fsync=off", "-k"])
            .arg(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let cluster = Self { programs, dir, user, child };
        cluster.wait();
        Some(cluster)
    }

    #[allow(clippy::disallowed_methods)] // a stopwatch
    fn wait(&self) {
        let begun = Instant::now();
        while !self.run("SELECT 1").status.success() {
            assert!(begun.elapsed() < Duration::from_secs(30), "PostgreSQL does not begin");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn run(&self, orders: &str) -> Output {
        let mut psql = command(&self.programs, "psql", self.user);
        psql.args(["-X", "-v", "ON_ERROR_STOP=1", "-U", "root", "-d", "postgres", "-c", orders]);
        psql.arg("-h").arg(self.dir.path()).output().unwrap()
    }

    /// Carries out orders as the superuser.
    pub(super) fn order(&self, orders: &str) {
        let output = self.run(orders);
        assert!(output.status.success(), "{output:?}");
    }

    /// Returns the address for a role.
    pub(super) fn address(&self, role: &str) -> String {
        let socket = self.dir.path().display().to_string().replace('/', "%2F");
        format!("postgresql://{role}@{socket}/postgres")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut stop = command(&self.programs, "pg_ctl", self.user);
        stop.args(["stop", "-m", "immediate", "-s", "-D"]).arg(self.dir.path().join("data"));
        // What was not started, or has ended, needs no stopping.
        let stopped = stop.output().is_ok_and(|output| output.status.success());
        if !stopped {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

fn command(programs: &Path, program: &str, user: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(programs.join(program));
    command.env_clear().env("PATH", "/usr/bin:/bin").current_dir("/").stdin(Stdio::null());
    if let Some((user, group)) = user {
        command.uid(user).gid(group);
    }
    command
}

fn programs() -> Option<PathBuf> {
    let debian = std::fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut versions: Vec<_> = debian.map(|version| version.path().join("bin")).collect();
    versions.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    // The newest of Debian's first: what is in the PATH may be wrappers.
    let everywhere = versions.into_iter().rev().chain(std::env::split_paths(&path));
    everywhere.into_iter().find(|dir| {
        ["initdb", "postgres", "psql", "pg_ctl"].iter().all(|program| dir.join(program).exists())
    })
}

fn is_root() -> bool {
    // Files that this process makes are its user's.
    use std::os::unix::fs::MetadataExt as _;
    tempfile::tempfile().and_then(|file| file.metadata()).unwrap().uid() == 0
}

/// Returns a user who may run PostgreSQL: `postgres` or `nobody`, from the list of users.
fn unprivileged() -> (u32, u32) {
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let of = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut numbers = line.split(':').skip(2).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    of("postgres").or_else(|| of("nobody")).expect("a user for PostgreSQL")
}
