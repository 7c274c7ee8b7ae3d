//! Who signed the policy: SSH signatures beside the configuration, checked as git checks them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::audit::Signer;
use crate::case::Millis;
use crate::config::{Checked, SigningConfig};
use crate::pipeline::{AllowedSigners, read_small};
use crate::text::{At, Problem, Problems};

/// A signature takes less than 1 KiB.
const SIGNATURE_BYTES_MAX: u64 = 16 * 1024;

/// Who signed this configuration's policy, each person once.
///
/// Errors: fewer people than are required, with what is wrong with each signature that is there.
pub(super) fn signers(
    checked: &Checked,
    config: Option<&SigningConfig>,
    directory: &Path,
    now: Millis,
) -> Result<Vec<Signer<'static>>, Vec<Problem>> {
    let Some(config) = config else { return Ok(Vec::new()) };
    let mut problems = Problems::default();
    let allowed = AllowedSigners::load(&directory.join(&config.allowed_signers))?;
    let statement = checked.statement();
    let mut signers: BTreeMap<String, Signer<'static>> = BTreeMap::new();
    for path in signature_files(config, directory) {
        let at = At { path: path.display().to_string().into(), line: 1, column: 1 };
        let source = read_small(&path, SIGNATURE_BYTES_MAX).map_err(|problem| problem.message);
        let signer = source.and_then(|source| {
            allowed.signer(&statement, &source.text, now).map_err(|not| not.why)
        });
        match signer {
            Ok(signer) => drop(signers.entry(signer.person.to_string()).or_insert(signer)),
            Err(why) => problems.add(&at, format!("does not count: it {why}")),
        }
    }
    if signers.len() < config.required {
        let people: Vec<&str> = signers.keys().map(String::as_str).collect();
        let people = if people.is_empty() { "nobody".to_owned() } else { people.join(", ") };
        let message = format!(
            "policy {} must be signed by {} of the allowed signers, and is by {people}: \
             `tipstaff policy bundle` prints what to sign",
            checked.policy_hash, config.required
        );
        problems.add(&config.at, message);
        return Err(problems.into_sorted());
    }
    for problem in problems.into_sorted() {
        warn!("{problem}");
    }
    Ok(signers.into_values().collect())
}

/// What [`signers`] reads, in order.
pub(super) fn signature_files(config: &SigningConfig, directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory.join(&config.signatures)).into_iter().flatten().flatten();
    let is_signature = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "sig");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(is_signature).collect();
    paths.sort();
    paths
}
