use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;
use std::{env, fs, io};

use super::files::{Files, SERVICE_FILE};
use super::secret::{ResolvedSecrets, SecretFrom};
use super::service::{Paths, ServiceConfig};
use super::systems::AllSystemSecrets;
use crate::case::Millis;
use crate::text::{At, Problem, Problems, Source};

/// Folders deeper than this are a mistake, or a link to themselves.
const DEPTH_MAX: usize = 8;
/// Largest file read; a table of a million rows fits.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

impl Files {
    /// Reads a configuration directory: `tipstaff.yaml`, if there is one, and the three folders,
    /// beside it or where its `paths` say.
    ///
    /// Errors: none; what could not be read is a problem that `load` reports with all others.
    pub fn read(directory: &Path) -> Self {
        let mut files = Self::default();
        let service = directory.join(SERVICE_FILE);
        let mut paths = Paths::default();
        if service.exists() {
            files.take(&service, SERVICE_FILE);
            if let Some(file) = files.get(SERVICE_FILE) {
                paths = ServiceConfig::paths_of(&file.source);
            }
        }
        for (name, place) in paths.each() {
            files.walk(&directory.join(place), name, 0);
        }
        files
    }

    /// These with the playbooks, boundary and actions of a directory.
    #[must_use]
    pub fn with_playbooks(&self, directory: &Path) -> Self {
        let mut files = self.clone();
        files.files.retain(|path, _| !path.starts_with("playbooks/"));
        files.walk(directory, "playbooks", 0);
        files
    }

    /// Some of them, as they are now.
    pub fn again(&self, names: &[&str]) -> Self {
        let mut files = Self::default();
        for name in names {
            if let Some(file) = self.get(name) {
                files.take(Path::new(&*file.source.path), name);
            }
        }
        files
    }

    fn walk(&mut self, folder: &Path, name: &str, depth: usize) {
        if depth > DEPTH_MAX {
            return self.cannot_read(folder, "folders are nested too deep");
        }
        let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.cannot_read(folder, error.kind()),
        };
        for entry in entries {
            let file_name = entry.file_name();
            let file_name = file_name.to_string_lossy();
            if file_name.starts_with('.') || file_name.ends_with(".md") {
                continue;
            }
            let (path, name) = (entry.path(), format!("{name}/{file_name}"));
            if path.is_dir() {
                self.walk(&path, &name, depth + 1);
            } else {
                self.take(&path, &name);
            }
        }
    }

    fn take(&mut self, path: &Path, name: &str) {
        let read = fs::metadata(path).and_then(|about| {
            if about.len() > FILE_BYTES_MAX {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            Ok((fs::read(path)?, about.modified().ok()))
        });
        let (bytes, modified) = match read {
            Ok(read) => read,
            Err(error) => return self.cannot_read(path, error.kind()),
        };
        let Ok(text) = String::from_utf8(bytes) else {
            return self.cannot_read(path, "it is not UTF-8 text");
        };
        let modified = modified.and_then(|time| {
            let since = time.duration_since(UNIX_EPOCH).ok()?;
            i64::try_from(since.as_millis()).ok().map(Millis)
        });
        self.insert(name, Source::new(shown(path), text), modified);
    }

    fn cannot_read(&mut self, path: &Path, why: impl std::fmt::Display) {
        let at = At { path: shown(path).into(), line: 1, column: 1 };
        self.unread.push(Problem { at, message: format!("cannot be read: {why}") });
    }
}

impl ServiceConfig {
    /// Reads the secrets it names from the environment and from files beside `directory`.
    ///
    /// Errors: every secret that is missing or too short, by the place that names it.
    pub fn secrets(&self, directory: &Path) -> Result<ResolvedSecrets, Vec<Problem>> {
        let mut problems = Problems::default();
        let resolved = self.resolve(&|from| kept(directory, from), &mut problems);
        resolved.ok_or_else(|| problems.into_sorted())
    }

    /// Only what the systems are shown that facts are asked of.
    ///
    /// Errors: every secret that is missing, by the place that names it.
    pub fn service_secrets(&self, directory: &Path) -> Result<AllSystemSecrets, Vec<Problem>> {
        let mut problems = Problems::default();
        let secrets = self.resolve_services(&|from| kept(directory, from), &mut problems);
        if problems.is_empty() { Ok(secrets) } else { Err(problems.into_sorted()) }
    }
}

fn kept(directory: &Path, from: &SecretFrom) -> Result<String, String> {
    match from {
        SecretFrom::Env(name) => env::var(name).map_err(|_| "it is not set".to_owned()),
        SecretFrom::File(path) => {
            fs::read_to_string(directory.join(path)).map_err(|error| error.kind().to_string())
        }
    }
}

/// Without `x/..`, as a person would write it.
fn shown(path: &Path) -> String {
    let mut short = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(short.components().next_back(), Some(Component::Normal(_))) =>
            {
                short.pop();
            }
            part => short.push(part),
        }
    }
    short.display().to_string()
}
