use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use super::tell_failure;
use crate::app::{Failure, system_clock};
use crate::cli::say;
use crate::config::Files;

/// A change counts when two looks in a row found the same, so that no file is read half written.
const LOOK_EVERY: Duration = Duration::from_millis(500);

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
        let now = Files::look_at_all(directory);
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
