use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::source::Lazy;
use crate::app::{Failure, Loaded, load_files, stored_policy};
use crate::case::Millis;
use crate::cli::against::files;
use crate::config::{Files, load};
use crate::policy::Policy;

/// One of the two policies, and what people call it.
pub(super) struct Side {
    pub name: String,
    pub policy: Arc<Policy>,
}

pub(super) struct Sides {
    pub old: Side,
    pub new: Side,
    /// Files of `pipelines/` and `enrichers/` that differ: what they would change is not told from
    /// records.
    pub other_files: BTreeSet<String>,
    old_files: Files,
}

impl Sides {
    pub fn new(against: &str, new: &Loaded, cluster: &mut Lazy<'_>) -> Result<Self, Failure> {
        let path = Path::new(against);
        let is_hash = against.len() >= 8 && against.bytes().all(|b| b.is_ascii_hexdigit());
        let old_files = if path.exists() {
            files(path, new)?
        } else if is_hash {
            let bundle = stored_policy(cluster.get()?, against)?;
            new.files.with_bundle(&new.checked.bundle, bundle)
        } else {
            let message = format!(
                "`--against {against}` is no file, no directory and no hash of a policy: give a \
                 configuration, its playbooks or boundary, or at least 8 digits of a hash"
            );
            return Err(Failure::Usage(message));
        };
        let checked = load(&old_files).map_err(Failure::Configuration)?;
        let other_files = differing(&checked.bundle, &new.checked.bundle);
        let name = |directory: Option<&Path>| match directory {
            Some(directory) => directory.display().to_string(),
            None => "the shipped files".to_owned(),
        };
        Ok(Self {
            old: Side { name: against.to_owned(), policy: checked.policy },
            new: Side {
                name: name(new.directory.as_deref()),
                policy: Arc::clone(&new.checked.policy),
            },
            other_files,
            old_files,
        })
    }

    /// The whole old configuration, with its tables: for events that it reads and looks up itself.
    pub fn load_old(&self, new: &Loaded, now: Millis) -> Result<Loaded, Failure> {
        load_files(self.old_files.clone(), new.directory.as_deref(), now)
    }
}

fn differing(old: &[(String, String)], new: &[(String, String)]) -> BTreeSet<String> {
    let only = |these: &[(String, String)], those: &[(String, String)]| {
        let changed = these.iter().filter(|file| !those.contains(file));
        let changed = changed.map(|(path, _)| path.clone());
        changed.filter(|path| !path.starts_with("playbooks/")).collect::<BTreeSet<_>>()
    };
    only(old, new).union(&only(new, old)).cloned().collect()
}
