use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::ports::free_ports;
use crate::skipped::skipped;

/// A process of ours. Dropping it ends it, and shows the end of its output where the test failed.
pub struct Server {
    child: Child,
    pub port: u16,
    directory: Directory,
}

/// Generous: the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many ports are tried: somebody else may have been faster.
const PORTS_MAX: usize = 5;

impl Server {
    /// Starts a program of the virtual environment on a free port, and waits until it answers.
    ///
    /// `None`, after one line that says why, where it is not installed.
    pub fn start(program: &str, arguments: impl Fn(u16) -> Vec<String>) -> Option<Self> {
        let path = installed(program)?;
        for _ in 0..PORTS_MAX {
            let port = free_ports(1)[0];
            let directory = Directory::new(program);
            let log = File::create(directory.0.join("log")).unwrap();
            let child = Command::new(&path)
                .args(arguments(port))
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
            let mut server = Self { child, port, directory };
            if server.answers() {
                return Some(server);
            }
        }
        panic!("{program} found every port taken");
    }

    /// Waits for its answer; `false` where its port was taken.
    fn answers(&mut self) -> bool {
        let until = Instant::now() + PATIENCE;
        let own = format!("Running on http://127.0.0.1:{}", self.port);
        while Instant::now() < until {
            if self.child.try_wait().unwrap().is_some() {
                assert!(self.log().contains("Address already in use"), "it ended by itself");
                return false;
            }
            // Whoever else is on the port, it is not before this program says that it is.
            if self.log().contains(&own) && is_http(self.port) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("nobody answers on {}", self.port);
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.0.join("log")).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(20)..].join("\n");
            eprintln!("the end of what the server on {} said:\n{tail}", self.port);
        }
        self.child.kill().ok();
        self.child.wait().unwrap();
    }
}

fn is_http(port: u16) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = [0; 5];
        stream.read_exact(&mut answer)?;
        Ok(answer == *b"HTTP/")
    };
    ask().unwrap_or(false)
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
