use std::collections::BTreeMap;

use crate::case::Millis;
use crate::text::{Problem, Source};

/// The files as they stand in this repository, built into the binary.
static SHIPPED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/shipped.rs"));

/// The service's own file; everything else is under `pipelines/`, `enrichers/` or `playbooks/`.
pub const SERVICE_FILE: &str = "tipstaff.yaml";

/// Everything a configuration is made of, by path from its root (`playbooks/boundary.yaml`),
/// wherever those directories really are.
#[derive(Debug, Clone, Default)]
pub struct Files {
    pub(super) files: BTreeMap<String, File>,
    /// What could not be read; told together with the mistakes inside the files.
    pub(super) unread: Vec<Problem>,
}

#[derive(Debug, Clone)]
pub struct File {
    /// Its path here is the one users know.
    pub source: Source,
    pub modified: Option<Millis>,
}

impl Files {
    /// What `tipstaff demo|decide|check|test` use when no directory is given.
    pub fn shipped() -> Self {
        let mut files = Self::default();
        for (path, text) in SHIPPED {
            files.insert(path, Source::new(*path, *text), None);
        }
        files
    }

    pub fn insert(&mut self, path: &str, source: Source, modified: Option<Millis>) {
        self.files.insert(path.to_owned(), File { source, modified });
    }

    /// These with another policy: `bundle` names the files that are of theirs.
    #[must_use]
    pub fn with_bundle(
        &self,
        bundle: &[(String, String)],
        other: BTreeMap<String, String>,
    ) -> Self {
        let mut files = self.clone();
        files.files.retain(|path, _| bundle.iter().all(|(of_bundle, _)| of_bundle != path));
        for (path, text) in other {
            files.insert(&path, Source::new(path.as_str(), text), None);
        }
        files
    }

    pub fn get(&self, path: &str) -> Option<&File> {
        self.files.get(path)
    }

    /// Paths in order, with their files.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &File)> {
        self.files.iter().map(|(path, file)| (path.as_str(), file))
    }

    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }
}
