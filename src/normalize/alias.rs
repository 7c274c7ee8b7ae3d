use std::collections::HashMap;

use sha2::{Digest, Sha256};

use super::FingerprintKeys;
use super::rows::{Row as CsvRow, rows};
use super::words::check_word;
use crate::case::{Alert, Field, Value, hex};
use crate::text::{At, Problems, Source, suggestion};

/// Which identity a key, a fingerprint or a name belongs to: one file, kept by people.
#[derive(Debug, Clone)]
pub(super) struct Aliases {
    /// `alias:<file>@<first 8 hexadecimal digits of its SHA-256>`: what an alert says it was known
    /// by.
    known_by: String,
    rows: HashMap<(Match, String), Row>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Match {
    CredentialId,
    Fingerprint,
    /// Replaces an id that the detector named itself, where that is only a key or a login.
    NhiId,
    /// A name is only unique on its platform: the value matched is `<platform>/<name>`.
    NhiName,
}

#[derive(Debug, Clone, Default)]
struct Row {
    fields: Vec<(Field, String)>,
}

const MATCHES: &[(&str, Match)] = &[
    ("credential_id", Match::CredentialId),
    ("fingerprint", Match::Fingerprint),
    ("nhi_id", Match::NhiId),
    ("nhi_name", Match::NhiName),
];

const COLUMNS: &[(&str, Field)] = &[
    ("nhi_id", Field::NhiId),
    ("nhi_kind", Field::NhiKind),
    ("nhi_name", Field::NhiName),
    ("platform", Field::NhiPlatform),
    ("account", Field::NhiAccount),
    ("credential_id", Field::CredentialId),
];

impl Aliases {
    pub(super) fn compile(source: &Source, problems: &mut Problems) -> Option<Self> {
        let before = problems.len();
        let all = rows(source, problems);
        let (header, body) = all.split_first()?;
        let columns = columns_of(header, problems)?;
        let mut aliases = Self { known_by: known_by(source), rows: HashMap::new() };
        for row in body {
            aliases.add(row, &columns, problems);
        }
        (problems.len() == before).then_some(aliases)
    }

    fn add(&mut self, row: &CsvRow, columns: &[&str], problems: &mut Problems) {
        let cell = |name: &str| {
            let at = columns.iter().position(|column| *column == name)?;
            row.cells.get(at).map(String::as_str).filter(|cell| !cell.is_empty())
        };
        let word = cell("match").unwrap_or_default();
        let Some((_, by)) = MATCHES.iter().find(|(name, _)| *name == word) else {
            let hint = suggestion(word, MATCHES.iter().map(|(name, _)| *name));
            problems.add(&row.at, format!("`match` is never `{word}`{hint}"));
            return;
        };
        let (Some(value), Some(_)) = (cell("value"), cell("nhi_id")) else {
            problems.add(&row.at, "`value` and `nhi_id` must not be empty");
            return;
        };
        let mut value = value.to_owned();
        if *by == Match::NhiName {
            let Some(platform) = cell("platform") else {
                problems.add(&row.at, "a name is only unique with its `platform`");
                return;
            };
            value = format!("{platform}/{value}");
        }
        if let Some(kind) = cell("nhi_kind") {
            check_word(Field::NhiKind, kind, &row.at, problems);
        }
        let fields =
            COLUMNS.iter().filter_map(|(name, field)| Some((*field, cell(name)?.to_owned())));
        let new = Row { fields: fields.collect() };
        if self.rows.insert((*by, value), new).is_some() {
            problems.add(&row.at, "an earlier row matches the same value");
        }
    }

    /// Fills in the identity, when the table knows it. The detector's own word stands unless a row
    /// replaces it by name.
    pub(super) fn resolve(
        &self,
        alert: &mut Alert<'_>,
        secret: Option<&str>,
        keys: &FingerprintKeys,
    ) {
        let Some(row) = self.row(alert, secret, keys) else { return };
        for (field, text) in &row.fields {
            if *field != Field::CredentialId || alert.text(Field::CredentialId).is_none() {
                alert.set(*field, Value::Text(text.clone().into()));
            }
            if *field == Field::NhiKind {
                alert.set(Field::NhiKindKnownBy, Value::Text(self.known_by.clone().into()));
            }
        }
        alert.set(Field::NhiKnownBy, Value::Text(self.known_by.clone().into()));
    }

    fn row(&self, alert: &Alert<'_>, secret: Option<&str>, keys: &FingerprintKeys) -> Option<&Row> {
        let find = |by: Match, value: &str| self.rows.get(&(by, value.to_owned()));
        if let Some(native) = alert.text(Field::NhiId) {
            return find(Match::NhiId, native);
        }
        let by_key = alert.text(Field::CredentialId).and_then(|id| find(Match::CredentialId, id));
        let by_fingerprint = || {
            let active = alert.text(Field::CredentialFingerprint)?;
            find(Match::Fingerprint, active).or_else(|| {
                let previous = keys.previous_fingerprint(secret?.as_bytes())?;
                find(Match::Fingerprint, &previous)
            })
        };
        let by_name = || {
            let (platform, name) = (alert.text(Field::NhiPlatform)?, alert.text(Field::NhiName)?);
            find(Match::NhiName, &format!("{platform}/{name}"))
        };
        by_key.or_else(by_fingerprint).or_else(by_name)
    }
}

fn known_by(source: &Source) -> String {
    let digest: [u8; 32] = Sha256::digest(source.text.as_bytes()).into();
    let file = source.path.rsplit('/').next().unwrap_or(&source.path);
    format!("alias:{file}@{}", hex(digest.get(..4).unwrap_or_default()))
}

fn columns_of<'r>(header: &'r CsvRow, problems: &mut Problems) -> Option<Vec<&'r str>> {
    let before = problems.len();
    let known: Vec<&str> =
        ["match", "value"].into_iter().chain(COLUMNS.iter().map(|(name, _)| *name)).collect();
    let columns: Vec<&str> = header.cells.iter().map(String::as_str).collect();
    for column in &columns {
        if !known.contains(column) {
            let hint = suggestion(column, known.iter().copied());
            problems.add(&header.at, format!("unknown column `{column}`{hint}"));
        }
    }
    for needed in ["match", "value", "nhi_id"] {
        if columns.iter().filter(|column| **column == needed).count() != 1 {
            problems.add(&header.at, format!("the column `{needed}` must be there once"));
        }
    }
    (problems.len() == before).then_some(columns)
}

/// The place of a row, for problems.
pub(super) fn at_line(source: &Source, line: usize) -> At {
    At { path: source.path.clone(), line: u32::try_from(line).unwrap_or(u32::MAX), column: 1 }
}
