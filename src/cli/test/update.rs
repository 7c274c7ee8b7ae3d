use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use crate::app::{Failure, Loaded};
use crate::cli::say;
use crate::config::load;
use crate::policy::Expected;
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
        for expected in &untouched {
            say(&format!("{}: left as it is: change it by hand", expected.key_at));
        }
        left += untouched.len();
        if changes.is_empty() {
            continue;
        }
        if is_right(loaded, (&name, Source::new(&*path, written.as_str())), &changes, &untouched) {
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
fn is_right(
    loaded: &Loaded,
    (name, source): (&str, Source),
    changes: &[Change],
    untouched: &[&Expected],
) -> bool {
    let path = Arc::clone(&source.path);
    let mut files = loaded.files.clone();
    files.insert(name, source, None);
    let Ok(checked) = load(&files) else { return false };
    let outcomes = run_tests(&checked.policy, |_, _| true);
    let mut differences = outcomes.iter().flat_map(|outcome| &outcome.differences);
    // A change stays in its line, so that what still differs there was changed in vain.
    !differences.any(|Difference { written, .. }| {
        let line = written.key_at.line;
        let is_left = |left: &&Expected| left.what == written.what && left.key_at.line == line;
        written.key_at.path == path
            && changes.iter().any(|change| change.at.line == line)
            && !untouched.iter().any(is_left)
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
