use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use super::tell_failure;
use crate::app::{Failure, system_clock};
use crate::cli::say;
use crate::config::{Files, SERVICE_FILE};

/// A change counts when two looks in a row found the same, so that no file is read half written.
const LOOK_EVERY: Duration = Duration::from_millis(500);

type Stamp = Vec<(PathBuf, Option<SystemTime>, u64)>;

/// Runs now and whenever a file under the directory has changed, until it is interrupted or nobody
/// reads any more.
pub(super) fn watch(
    directory: Option<&Path>,
    run: impl Fn() -> Result<ExitCode, Failure>,
) -> Result<ExitCode, Failure> {
    let Some(directory) = directory else {
        let message = "`--watch` looks at files: give `--config DIR`";
        return Err(Failure::Usage(message.to_owned()));
    };
    let (mut ran, mut seen) = (None, None);
    loop {
        let now = stamp(directory);
        let has_settled = seen.as_ref() == Some(&now);
        if has_settled && ran.as_ref() != Some(&now) {
            if let Err(failure) = run() {
                tell_failure(&failure);
            }
            if !say(&format!("{}: waiting for a change; end with Ctrl-C", system_clock()())) {
                return Ok(ExitCode::SUCCESS);
            }
            ran = Some(now.clone());
        }
        let wait = if seen.is_none() { Duration::ZERO } else { LOOK_EVERY };
        seen = Some(now);
        std::thread::sleep(wait);
    }
}

/// Of every file that belongs to a configuration.
fn stamp(directory: &Path) -> Stamp {
    let mut found = Vec::new();
    Files::places(directory).iter().for_each(|folder| add(folder, &mut found));
    found.extend(one(directory.join(SERVICE_FILE)));
    found.sort();
    found
}

fn add(folder: &Path, found: &mut Stamp) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => add(&entry.path(), found),
            _ => found.extend(one(entry.path())),
        }
    }
}

fn one(path: PathBuf) -> Option<(PathBuf, Option<SystemTime>, u64)> {
    let about = std::fs::metadata(&path).ok()?;
    Some((path, about.modified().ok(), about.len()))
}
