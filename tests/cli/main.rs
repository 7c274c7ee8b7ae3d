//! The program as its users run it: arguments and files in, lines and an exit code out.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod boundary;
mod canary;
#[path = "../simulation/chain_model.rs"]
#[allow(dead_code, reason = "a simulation does more with it")]
mod chain_model;
mod check;
mod decide;
mod demo;
mod diff;
mod findings;
mod general;
mod init;
mod lookup;
mod map;
#[path = "../support/canary.rs"]
mod planted;
#[path = "../support/planting.rs"]
mod planting;
mod purge;
mod run;
#[path = "../lookups/server.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod server;
mod services;
mod signing;
#[path = "../support/skipped.rs"]
mod skipped;
mod trial;
mod verify;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DONE: i32 = 0;
const FAILED: i32 = 1;
const WRONG: i32 = 64;
const NOW: &str = "2026-03-02T09:30:00Z";

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tipstaff"));
    command.args(arguments).current_dir(root()).env_remove("TIPSTAFF_FINGERPRINT_KEY");
    command
}

fn ran(mut command: Command, input: &[u8]) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // A program that ends before it reads everything closes the pipe; what it says is the test's.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    });
    Ran {
        code: output.status.code().expect("an exit code"),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

fn tipstaff(arguments: &[&str]) -> Ran {
    ran(program(arguments), b"")
}

fn fed(arguments: &[&str], input: &[u8]) -> Ran {
    ran(program(arguments), input)
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A new and empty folder of this name; no two tests share one.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli").join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).unwrap();
    }
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A configuration of these files, with a boundary, which every configuration needs.
fn configuration(name: &str, files: &[(&str, &str)]) -> String {
    let folder = folder(name);
    for part in ["enrichers", "pipelines", "playbooks"] {
        std::fs::create_dir(folder.join(part)).unwrap();
    }
    let boundary = "boundary: b\nowner: o\ndefault_queue: {queue: q, priority: low}\n";
    for (path, text) in [("playbooks/boundary.yaml", boundary)].iter().chain(files) {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder.to_str().unwrap().to_owned()
}

impl Ran {
    /// Each problem of standard error as `file:line:column: message`, the file from `folder`.
    fn problems(&self, folder: &str) -> Vec<String> {
        let mut blocks: Vec<&str> = self.err.trim_end().split("\n\n").collect();
        let last = blocks.pop().unwrap_or_default();
        let count = blocks.len();
        assert_eq!(last, format!("{count} problem(s) in the configuration; nothing was started"));
        let short = |block: &&str| {
            let mut lines = block.strip_prefix(&format!("{folder}/")).unwrap().lines();
            let first = lines.next().unwrap().to_owned();
            match lines.last().and_then(|last| last.trim_start().strip_prefix("= ")) {
                Some(help) if help.starts_with("write") => format!("{first}: {help}"),
                Some(help) => format!("{first}, {help}"),
                None => first,
            }
        };
        blocks.iter().map(short).collect()
    }

    fn json(&self) -> Vec<serde_json::Value> {
        let read = |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
        self.out.lines().map(read).collect()
    }
}
