use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::skipped::skipped;

/// A process of ours. Dropping it ends it.
pub struct Server {
    child: Child,
    pub port: u16,
}

/// Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

impl Server {
    /// Starts a program of the virtual environment on a free port, and waits until it listens.
    ///
    /// `None`, after one line that says why, where it is not installed.
    pub fn start(program: &str, arguments: impl Fn(u16) -> Vec<String>) -> Option<Self> {
        let program = installed(program)?;
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(program)
            .args(arguments(port))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut server = Self { child, port };
        let until = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(server.child.try_wait().unwrap().is_none(), "it ended by itself");
            assert!(Instant::now() < until, "nobody listens on {port}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

/// A program of the virtual environment.
///
/// `None`, after one line that says why, where it is not there.
pub fn installed(program: &str) -> Option<PathBuf> {
    let environment = std::env::var_os("TIPSTAFF_TEST_PYTHON")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/python"), PathBuf::from);
    let program = environment.join("bin").join(program);
    if program.exists() {
        return Some(program);
    }
    skipped(&format!(
        "there is no {}; install tests/peers/requirements.txt into a virtual environment \
         and name it in TIPSTAFF_TEST_PYTHON",
        program.display()
    ));
    None
}

/// A directory of its own, removed at the end.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new(name: &str) -> Self {
        let name = format!("tipstaff-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&directory).unwrap();
        Self(directory)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

/// `tipstaff lookup --json`, as an operator asks for one fact.
pub fn lookup(directory: &Path, secrets: &[(&str, &str)], words: &[&str]) -> Value {
    let output = Command::new(env!("CARGO_BIN_EXE_tipstaff"))
        .args(["lookup", "--json", "--config", directory.to_str().unwrap()])
        .args(words)
        .env("TIPSTAFF_FINGERPRINT_KEY", "0123456789abcdef".repeat(4))
        .envs(secrets.iter().copied())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no row: {told}"))
}
