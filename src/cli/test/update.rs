use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::app::{Failure, Loaded};
use crate::cli::say;
use crate::config::load;
use crate::text::Source;
use crate::trial::{Change, Difference, TestOutcome, rewrite, run_tests};

/// Writes what came out into the failed expectations. A file is written only when all of it can be
/// read again and every test that was changed passes.
pub(super) fn update(loaded: &Loaded, outcomes: &[TestOutcome]) -> Result<ExitCode, Failure> {
    if loaded.directory.is_none() {
        let message = "`--update` writes into files: give `--config DIR`";
        return Err(Failure::Usage(message.to_owned()));
    }
    let mut by_file: BTreeMap<Arc<str>, Vec<&Difference>> = BTreeMap::new();
    for difference in outcomes.iter().flat_map(|outcome| &outcome.differences) {
        by_file.entry(Arc::clone(&difference.written.key_at.path)).or_default().push(difference);
    }
    let (mut changed, mut left) = (0, 0);
    for (path, differences) in by_file {
        let Some((name, text)) = file(loaded, &path) else { continue };
        let (written, changes, untouched) = rewrite(&text, &differences);
        for at in &untouched {
            say(&format!("{at}: left as it is: change it by hand"));
        }
        left += untouched.len();
        if !changes.is_empty() && is_right(loaded, &name, &path, &written, &changes) {
            write(&path, &written)?;
            changes.iter().for_each(tell);
            changed += changes.len();
        } else {
            left += changes.len();
            say(&format!("{path}: left as it is: its tests would not pass with what came out"));
        }
    }
    say(&format!("{changed} changed, {left} left"));
    Ok(if left == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Its name in the configuration, and its text.
fn file(loaded: &Loaded, path: &str) -> Option<(String, String)> {
    let mut files = loaded.files.iter();
    let (name, file) = files.find(|(_, file)| *file.source.path == *path)?;
    Some((name.to_owned(), file.source.text.clone()))
}

/// Tries it before anything is written.
fn is_right(loaded: &Loaded, name: &str, path: &str, text: &str, changes: &[Change]) -> bool {
    let mut files = loaded.files.clone();
    files.insert(name, Source::new(path, text), None);
    let Ok(checked) = load(&files) else { return false };
    let outcomes = run_tests(&checked.policy, |_, _| true);
    // A change stays in its line, so that what still differs there was changed in vain.
    let mut differences = outcomes.iter().flat_map(|outcome| &outcome.differences);
    !differences.any(|difference| {
        let at = &difference.written.key_at;
        changes.iter().any(|change| change.at.path == at.path && change.at.line == at.line)
    })
}

fn tell(change: &Change) {
    match &change.is {
        Some(is) => say(&format!("{}: `{}` is now `{is}`", change.at, change.was)),
        None => say(&format!("{}: `{}` is gone", change.at, change.was)),
    };
}

/// Beside it first, so that nobody reads half a file.
fn write(path: &str, text: &str) -> Result<(), Failure> {
    let beside = format!("{path}.new");
    let written = std::fs::write(&beside, text).and_then(|()| {
        std::fs::set_permissions(&beside, std::fs::metadata(path)?.permissions())?;
        std::fs::rename(&beside, Path::new(path))
    });
    written.map_err(|error| Failure::Ended(format!("{path}: {error}")))
}
