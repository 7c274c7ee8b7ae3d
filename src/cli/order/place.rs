use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use memchr::memmem::Finder;

use super::connect;
use crate::app::{Cluster, Failure, Loaded};
use crate::audit::{Kind, Record};
use crate::case::{Field, Subject};
use crate::ingest::LogReader;
use crate::pipeline::AllowedSigners;

/// Records read at once, from the newest back.
const CHUNK: i64 = 20_000;

/// One record of a case.
struct Mention {
    offset: i64,
    nhi: String,
    /// Of a ruling: the credential's id and its fingerprint.
    names: Option<[Option<String>; 2]>,
}

/// What a case is about, as its records say. Only an exception names the credential, and that the
/// case is known by is its oldest ruling's to say.
pub(super) fn find_case(
    loaded: &Loaded,
    case_id: &str,
    is_exception: bool,
    wait: Duration,
) -> Result<Subject, Failure> {
    let cluster = connect(loaded, wait)?;
    let log = LogReader::connect(&cluster.settings, &cluster.group("order"))?;
    for partition in 0..cluster.topics.partitions {
        let mentions = mentions(&cluster, &log, partition, (case_id, is_exception))?;
        if let Some(newest) = mentions.last() {
            let credential = is_exception.then(|| credential(&mentions)).flatten();
            let nhi = newest.nhi.clone();
            return Ok(Subject { case_id: case_id.to_owned(), nhi, credential });
        }
    }
    Err(Failure::Ended(format!(
        "no chain has a ruling of case {case_id}; with `--nhi` it is not looked for"
    )))
}

/// What the records of one partition say of a case, the oldest in front: all of them, or those of
/// the newest chunk that holds any.
fn mentions(
    cluster: &Cluster,
    log: &LogReader,
    partition: i32,
    (case_id, is_whole): (&str, bool),
) -> Result<Vec<Mention>, Failure> {
    let decisions = &cluster.topics.decisions;
    let (low, mut end) = (log.low(decisions, partition)?, log.stable(decisions, partition)?);
    let named = format!("\"case_id\":\"{case_id}\"");
    let [named, voids] = [&named, "\"void\":["].map(Finder::new);
    let (mut mentions, mut void) = (Vec::new(), HashSet::new());
    while end > low && (is_whole || mentions.is_empty()) {
        let start = (end - CHUNK).max(low);
        let mut found = Vec::new();
        log.read(decisions, partition, start..end, |message| {
            let bytes = message.value.unwrap_or_default();
            if named.find(bytes).or_else(|| voids.find(bytes)).is_none() {
                return;
            }
            let Some(record) = Record::parse(bytes) else { return };
            found.extend(mention(&record, case_id, message.offset));
            void.extend(record.void);
        })?;
        // A record is never void before it is there.
        found.retain(|mention| !void.contains(&mention.offset));
        found.append(&mut mentions);
        (mentions, end) = (found, start);
    }
    Ok(mentions)
}

fn mention(record: &Record<'_>, case_id: &str, offset: i64) -> Option<Mention> {
    // A case that began without a ruling: a review, or the end of a suppression.
    let told = record.told.as_ref().filter(|told| told.case_id == case_id && told.revision == 1);
    if let (Some(told), None) = (told, &record.ruling) {
        let nhi = told.nhi.as_deref().or(record.alert_id.as_deref())?.to_owned();
        return Some(Mention { offset, nhi, names: None });
    }
    if !matches!(record.kind, Kind::Ruling | Kind::Revision) {
        return None;
    }
    record.counters.as_ref().filter(|counters| counters.case_id == case_id)?;
    let alert = record.alert.as_deref()?;
    let text = |field| alert.text(field).map(str::to_owned);
    let nhi = text(Field::NhiId).or_else(|| record.alert_id.clone())?;
    let names = [Field::CredentialId, Field::CredentialFingerprint].map(text);
    Some(Mention { offset, nhi, names: Some(names) })
}

/// As a case is known by it: the first alert's fingerprint, and the first id that one names.
fn credential(mentions: &[Mention]) -> Option<String> {
    let mut rulings = mentions.iter().filter_map(|mention| mention.names.as_ref());
    let [id, fingerprint] = rulings.next()?;
    let later = || rulings.find_map(|[id, _]| id.as_ref());
    id.as_ref().or(fingerprint.as_ref()).or_else(later).cloned()
}

/// Whose key this is, as the file of allowed signers says.
pub(super) fn person_of(loaded: &Loaded, key: &Path) -> Result<String, Failure> {
    let Some(orders) = loaded.service()?.orders.as_ref() else {
        return Err(Failure::Usage(
            "tipstaff.yaml names no `orders: {allowed_signers: …}`: say `--by`".to_owned(),
        ));
    };
    let directory = loaded.directory.as_deref().unwrap_or_else(|| Path::new("."));
    let allowed = AllowedSigners::load(&directory.join(&orders.allowed_signers));
    let allowed = allowed.map_err(Failure::Configuration)?;
    let public = public_half(key);
    let text = std::fs::read_to_string(&public);
    let text = text.map_err(|error| Failure::Usage(format!("{}: {error}", public.display())))?;
    allowed.person(text.trim()).map(str::to_owned).ok_or_else(|| {
        let (key, file) = (public.display(), &orders.allowed_signers);
        Failure::Usage(format!("{key} is no key of {file}: say `--by`, or have it put there"))
    })
}

fn public_half(key: &Path) -> PathBuf {
    if key.extension().is_some_and(|ending| ending == "pub") {
        return key.to_path_buf();
    }
    let mut name = key.as_os_str().to_owned();
    name.push(".pub");
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::audit::{Actor, Engine};
    use crate::case::{Alert, CaseState, Counters, Millis, Priority, Spread, Told, Value};

    fn record(kind: Kind) -> Record<'static> {
        let engine = Engine { version: "1".into(), build: "test".into() };
        Record::new(kind, Millis(0), engine, Actor { service: "t".into(), instance: "t".into() })
    }

    fn ruling(fields: &[(Field, &'static str)]) -> Record<'static> {
        let mut alert = Alert::default();
        let fields = [(Field::NhiId, "n")].iter().chain(fields).copied();
        fields.for_each(|(field, text)| alert.set(field, Value::Text(text.into())));
        let counters = Some(Cow::Owned(Counters::alone("c".to_owned(), Millis(0))));
        Record { alert: Some(Cow::Owned(alert)), counters, ..record(Kind::Ruling) }
    }

    fn released() -> Record<'static> {
        let told = Told {
            case_id: "c".to_owned(),
            revision: 1,
            changed: vec![],
            state: CaseState::New,
            queue: "q".into(),
            left: None,
            priority: Priority::Low,
            ack_by: None,
            nhi: Some("n".into()),
            count: 1,
            first_seen: Millis(0),
            last_seen: Millis(0),
            detectors: Spread::default(),
            repositories: Spread::default(),
            sources: Spread::default(),
            related: vec![],
            worked: None,
        };
        Record { told: Some(told), ..record(Kind::Timer) }
    }

    #[test]
    fn an_exception_names_the_credential_that_the_case_is_known_by() {
        let known_by = |records: &[Record<'_>]| {
            let mentions = records.iter().map(|record| mention(record, "c", 0).unwrap());
            credential(&mentions.collect::<Vec<_>>())
        };
        let (id, other) = ((Field::CredentialId, "id"), (Field::CredentialId, "other"));
        let print = (Field::CredentialFingerprint, "print");
        for (records, expected) in [
            (vec![ruling(&[id, print]), ruling(&[other])], Some("id")),
            (vec![ruling(&[print]), ruling(&[id])], Some("print")),
            (vec![ruling(&[]), ruling(&[print]), ruling(&[id])], Some("id")),
            (vec![ruling(&[id]), released()], Some("id")),
            (vec![released()], None),
        ] {
            assert_eq!(known_by(&records).as_deref(), expected, "{records:?}");
        }
    }
}
