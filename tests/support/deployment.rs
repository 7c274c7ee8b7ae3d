//! The product as its users run it: configuration directories and processes of the real binary.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const PREFIX: &str = "tipstaff";
/// The key that the shipped example tables are filled with, padded to the length a real one needs.
pub const KEY: &str = "examples-only-not-a-real-key-0123456789";

/// One directory with everything that a process needs; removed when dropped.
pub struct Deployment {
    pub directory: PathBuf,
    pub partitions: i32,
}

impl Deployment {
    pub fn new(partitions: i32) -> Self {
        let name = format!("tipstaff-test-{:016x}", super::kafka::chance());
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("key"), KEY).unwrap();
        Self { directory, partitions }
    }

    /// Writes the configuration of one instance and returns its directory.
    pub fn config(&self, instance: &str, bootstrap: &str, port: u16, more: &str) -> PathBuf {
        let directory = self.directory.join(instance);
        fs::create_dir_all(&directory).unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let paths = ["pipelines", "enrichers", "playbooks"]
            .map(|name| format!("{name}: {}", root.join(name).display()));
        let text = format!(
            "kafka: {{bootstrap.servers: \"{bootstrap}\"}}\n\
             topics: {{prefix: {PREFIX}, partitions: {}, replication: 1}}\n\
             instance: {instance}\nlisten: 127.0.0.1:{port}\n\
             fingerprint: {{id: t1, key: {{file: ../key}}}}\n\
             paths: {{{}}}\nfindings: true\nlog: {{level: info, format: json}}\n{more}",
            self.partitions,
            paths.join(", "),
        );
        fs::write(directory.join("tipstaff.yaml"), text).unwrap();
        directory
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        if std::env::var_os("TIPSTAFF_KEEP_DEPLOYMENT").is_none() {
            fs::remove_dir_all(&self.directory).ok();
        }
    }
}

/// Runs a verb to its end.
pub fn tipstaff(arguments: &[&str]) -> std::process::Output {
    Command::new(env!("CARGO_BIN_EXE_tipstaff")).args(arguments).output().unwrap()
}

/// `tipstaff run`, with its log in a file. Killed when dropped.
pub struct Process {
    pub name: String,
    config: PathBuf,
    roles: &'static str,
    port: u16,
    more: Vec<String>,
    environment: Vec<(&'static str, String)>,
    child: Option<Child>,
}

impl Process {
    pub fn start(config: &Path, roles: &'static str, port: u16) -> Self {
        Self::start_with(config, roles, port, &[], &[])
    }

    /// With more arguments and variables of the environment.
    pub fn start_with(
        config: &Path,
        roles: &'static str,
        port: u16,
        more: &[&str],
        environment: &[(&'static str, String)],
    ) -> Self {
        let name = config.file_name().unwrap().to_string_lossy().into_owned();
        let more = more.iter().map(|argument| (*argument).to_owned()).collect();
        let (config, environment) = (config.to_owned(), environment.to_vec());
        let mut process = Self { name, config, roles, port, more, environment, child: None };
        process.resume();
        process
    }

    pub fn log_file(&self) -> PathBuf {
        self.config.join("log.ndjson")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    pub fn resume(&mut self) {
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_tipstaff"))
            .args(["run", "--role", self.roles, "--config"])
            .arg(&self.config)
            .args(&self.more)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Stops it in its tracks (SIGSTOP), or lets it go on.
    pub fn freeze(&self, is_frozen: bool) {
        self.signal(if is_frozen { "-STOP" } else { "-CONT" });
    }

    pub fn signal(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    /// SIGTERM; the exit code and how long it took.
    pub fn terminate(&mut self) -> (Option<i32>, Duration) {
        let mut child = self.child.take().unwrap();
        let began = Instant::now();
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        while began.elapsed() < Duration::from_secs(30) {
            if let Some(status) = child.try_wait().unwrap() {
                return (status.code(), began.elapsed());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        (None, began.elapsed())
    }

    /// The exit code, if it has ended by itself.
    pub fn ended(&mut self) -> Option<i32> {
        let status = self.child.as_mut()?.try_wait().unwrap()?;
        self.child = None;
        Some(status.code().unwrap_or(-1))
    }

    pub fn runs(&mut self) -> bool {
        self.ended().is_none() && self.child.is_some()
    }

    /// Status and body of `path` on the process's own port.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    pub fn is_ready(&self) -> bool {
        self.get("/readyz").is_some_and(|(status, _)| status == 200)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
