//! Puts the shipped pipelines, enrichers and playbooks into the binary, so that `demo`, `decide`,
//! `check` and `test` work in any directory; and says what the build of librdkafka needs and this
//! machine lacks, in words of ours.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs, io};

const SHIPPED: [&str; 3] = ["enrichers", "pipelines", "playbooks"];

/// What to install where, for everything that may be missing at once.
const INSTALL: [(&str, &str); 3] = [
    ("Debian, Ubuntu", "apt-get install build-essential pkg-config libssl-dev"),
    ("Fedora", "dnf install gcc gcc-c++ make pkgconf-pkg-config openssl-devel"),
    ("macOS", "xcode-select --install && brew install pkg-config openssl@3"),
];

/// How openssl-sys is told where OpenSSL is, with or without a target in front; then nothing is
/// guessed here.
const OPENSSL_TOLD: [&str; 3] = ["OPENSSL_DIR", "OPENSSL_INCLUDE_DIR", "OPENSSL_LIB_DIR"];
/// Where openssl-sys looks on macOS before it asks pkg-config.
const OPENSSL_ON_MACOS: [&str; 6] = [
    "/opt/homebrew/opt/openssl@4",
    "/opt/homebrew/opt/openssl@3",
    "/usr/local/opt/openssl@4",
    "/usr/local/opt/openssl@3",
    "/opt/pkg/include/openssl",
    "/opt/local/include/openssl",
];

fn main() -> io::Result<()> {
    // librdkafka's own build fails late and far from the cause. Built for another machine, it takes
    // that machine's tools, which are not looked for.
    println!("cargo::rerun-if-env-changed=TIPSTAFF_TOOLS");
    let is_shell = env::var_os("CARGO_FEATURE_SHELL").is_some();
    let is_asked = env::var_os("TIPSTAFF_TOOLS").is_some();
    if (is_shell || is_asked) && cfg!(unix) && env::var("HOST") == env::var("TARGET") {
        require_tools();
    }
    ship()
}

fn require_tools() {
    for variable in
        OPENSSL_TOLD.iter().chain(&["PATH", "CC", "CXX", "PKG_CONFIG", "PKG_CONFIG_PATH"])
    {
        println!("cargo::rerun-if-env-changed={variable}");
    }
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let cpp_compiler = env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
    let make = if cfg!(target_os = "freebsd") { "gmake" } else { "make" };
    let found = [
        ("a C compiler (cc)", runs(&compiler, &["--version"])),
        ("a C++ compiler (c++)", runs(&cpp_compiler, &["--version"])),
        (make, runs(make, &["--version"])),
        ("bash", runs("bash", &["--version"])),
        ("the headers of OpenSSL, as pkg-config finds them", has_openssl(&compiler)),
    ];
    let missing: Vec<&str> = found.iter().filter(|(_, is)| !is).map(|(what, _)| *what).collect();
    if missing.is_empty() {
        return;
    }
    println!("cargo::error=the Kafka client is built from C and needs: {}", missing.join(", "));
    for (system, command) in INSTALL {
        println!("cargo::error=on {system}: {command}");
    }
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    // `CC` may hold arguments, or a wrapper in front: `ccache gcc`.
    let mut words = program.split_whitespace();
    let Some(name) = words.next() else { return false };
    let mut command = Command::new(name);
    command.args(words).args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn has_openssl(compiler: &str) -> bool {
    let is_known =
        cfg!(target_os = "macos") && OPENSSL_ON_MACOS.iter().any(|path| Path::new(path).is_dir());
    let is_told = env::vars_os().any(|(name, _)| {
        let name = name.to_string_lossy();
        OPENSSL_TOLD.iter().any(|variable| name.ends_with(variable))
    });
    if is_known || is_told {
        return true;
    }
    let finder = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_owned());
    let flags = Command::new(finder).args(["--cflags", "openssl"]).output();
    let Some(flags) = flags.ok().filter(|flags| flags.status.success()) else { return false };
    let flags = String::from_utf8_lossy(&flags.stdout).into_owned();
    let Ok(out) = env::var("OUT_DIR") else { return false };
    let probe = Path::new(&out).join("probe.c");
    if fs::write(&probe, "#include <openssl/ssl.h>\nint none;\n").is_err() {
        return false;
    }
    let probe = probe.to_string_lossy();
    let mut arguments: Vec<&str> = flags.split_whitespace().collect();
    arguments.extend(["-fsyntax-only", &*probe]);
    runs(compiler, &arguments)
}

fn ship() -> io::Result<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?);
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?);
    let mut files = Vec::new();
    for folder in SHIPPED {
        println!("cargo::rerun-if-changed={folder}");
        if root.join(folder).is_dir() {
            walk(&root.join(folder), &mut files)?;
        }
    }
    files.sort();
    let mut text = String::from("&[\n");
    for file in &files {
        let path = file.strip_prefix(&root).map_err(io::Error::other)?;
        let name = path.to_string_lossy().replace('\\', "/");
        writeln!(text, "    ({name:?}, include_str!({:?})),", file.display().to_string())
            .map_err(io::Error::other)?;
    }
    text.push_str("]\n");
    fs::write(out.join("shipped.rs"), text)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') || name.ends_with(".md") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}
