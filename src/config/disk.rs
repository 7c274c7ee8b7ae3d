use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, fs, io};

use super::files::{File, Files, SERVICE_FILE};
use super::load::is_policy;
use super::secret::{ResolvedSecrets, Secret, SecretFrom};
use super::service::{Paths, ServiceConfig};
use super::systems::AllSystemSecrets;
use super::webhooks::{CallbacksConfig, NamedSecrets, Verify};
use crate::case::Millis;
use crate::text::{At, Problem, Problems, Source};

/// Of files, by their names in the configuration: when they were changed, and their sizes.
pub type Look = BTreeMap<String, Stamp>;
pub type Stamp = Option<(Millis, u64)>;

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
        let mut files = Self::begin(directory);
        files.read_folders(directory);
        files
    }

    /// The service's own file, which says where the others are.
    fn begin(directory: &Path) -> Self {
        let mut files = Self::default();
        let service = directory.join(SERVICE_FILE);
        if service.exists() {
            files.take(&service, SERVICE_FILE);
        }
        files
    }

    /// These with the playbooks, boundary and actions of a directory.
    #[must_use]
    pub fn with_playbooks(&self, directory: &Path) -> Self {
        let mut files = self.clone();
        files.files.retain(|path, _| !path.starts_with("playbooks/"));
        files.read_folder(directory, "playbooks");
        files
    }

    /// The three folders as they are now, beside the service's file as it was.
    pub fn reread(&self, directory: &Path) -> Self {
        let mut files = Self::default();
        if let Some(file) = self.get(SERVICE_FILE) {
            files.insert(SERVICE_FILE, file.source.clone(), file.modified);
        }
        files.read_folders(directory);
        files
    }

    fn read_folders(&mut self, directory: &Path) {
        for (name, place) in self.folders().each() {
            self.read_folder(&directory.join(place), name);
        }
    }

    fn read_folder(&mut self, folder: &Path, name: &str) {
        let mut found = Vec::new();
        let unread = walk(folder, name, 0, &mut found);
        for (path, name) in found {
            self.take(&path, &name);
        }
        for (folder, why) in unread {
            self.cannot_read(&folder, why);
        }
    }

    fn folders(&self) -> Paths {
        let service = self.get(SERVICE_FILE);
        service.map_or_else(Paths::default, |file| ServiceConfig::paths_of(&file.source))
    }

    /// Every file that the policy is made of and its time and size, without reading any; what can't
    /// be seen is not there.
    pub fn look(&self, directory: &Path) -> Look {
        self.look_where(directory, is_policy)
    }

    /// The same of every file that a configuration directory has, its own and tables too.
    pub fn look_at_all(directory: &Path) -> Look {
        let mut look = Self::begin(directory).look_where(directory, |_| true);
        look.insert(SERVICE_FILE.to_owned(), stamp(&directory.join(SERVICE_FILE)));
        look
    }

    fn look_where(&self, directory: &Path, is_wanted: impl Fn(&str) -> bool) -> Look {
        let mut look = Look::new();
        for (name, place) in self.folders().each() {
            let mut found = Vec::new();
            walk(&directory.join(place), name, 0, &mut found);
            for (path, name) in found.into_iter().filter(|(_, name)| is_wanted(name)) {
                look.insert(name, stamp(&path));
            }
        }
        look
    }

    /// The same of what was read.
    pub fn looked(&self) -> Look {
        let files = self.iter().filter(|(name, _)| is_policy(name));
        files.map(|(name, file)| (name.to_owned(), file.stamp())).collect()
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
        let modified = modified.and_then(millis);
        self.insert(name, Source::new(shown(path), text), modified);
    }

    fn cannot_read(&mut self, path: &Path, why: impl std::fmt::Display) {
        let at = At { path: shown(path).into(), line: 1, column: 1 };
        self.unread.push(Problem::new(at, format!("cannot be read: {why}")));
    }
}

impl File {
    /// As it was when it was read.
    pub fn stamp(&self) -> Stamp {
        Some((self.modified?, self.source.text.len() as u64))
    }
}

/// When a file was changed, and its size; nothing when it can't be seen.
pub fn stamp(path: &Path) -> Stamp {
    let about = fs::metadata(path).ok()?;
    Some((millis(about.modified().ok()?)?, about.len()))
}

fn millis(time: SystemTime) -> Option<Millis> {
    let since = time.duration_since(UNIX_EPOCH).ok()?;
    i64::try_from(since.as_millis()).ok().map(Millis)
}

/// Adds the files of a folder, with their names in the configuration; gives the folders that could
/// not be read, and why.
fn walk(
    folder: &Path,
    name: &str,
    depth: usize,
    found: &mut Vec<(PathBuf, String)>,
) -> Vec<(PathBuf, String)> {
    if depth > DEPTH_MAX {
        return vec![(folder.to_owned(), "folders are nested too deep".to_owned())];
    }
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let entries = match entries {
        Ok(entries) => entries,
        Err(error) => return vec![(folder.to_owned(), error.kind().to_string())],
    };
    let mut unread = Vec::new();
    for entry in entries {
        let file_name = entry.file_name();
        let file_name = file_name.to_string_lossy();
        if file_name.starts_with('.') || file_name.ends_with(".md") {
            continue;
        }
        let (path, name) = (entry.path(), format!("{name}/{file_name}"));
        if path.is_dir() {
            unread.extend(walk(&path, &name, depth + 1, found));
        } else {
            found.push((path, name));
        }
    }
    unread
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

impl CallbacksConfig {
    /// The key that callbacks are passed on under, and what proves this sink, each with its name.
    ///
    /// Errors: every secret that is missing or too short, by the place that names it.
    pub fn kept(
        &self,
        sink: (&str, &Verify),
        directory: &Path,
    ) -> Result<(Secret, NamedSecrets), Vec<Problem>> {
        let mut problems = Problems::default();
        let read = |from: &SecretFrom| kept(directory, from);
        let key = self.key_text(&read, &mut problems);
        let secrets = self.secrets(sink, &read, &mut problems);
        let key = key.filter(|_| problems.is_empty());
        key.map(|key| (key, secrets)).ok_or_else(|| problems.into_sorted())
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
