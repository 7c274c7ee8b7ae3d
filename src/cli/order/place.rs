use std::path::{Path, PathBuf};

use super::connect;
use crate::app::{Cluster, Failure, Loaded};
use crate::audit::{Kind, Record};
use crate::case::{Field, Subject};
use crate::ingest::LogReader;
use crate::pipeline::{AllowedSigners, Drain};

/// Records read at once, from the newest back.
const CHUNK: i64 = 20_000;

/// What a case is about, as its newest ruling says.
pub(super) fn find_case(loaded: &Loaded, case_id: &str) -> Result<Subject, Failure> {
    let cluster = connect(loaded, &Drain::default())?;
    let log = LogReader::connect(&cluster.settings, &cluster.group("order"))?;
    for partition in 0..cluster.topics.partitions {
        if let Some(subject) = find_in(&cluster, &log, partition, case_id)? {
            return Ok(subject);
        }
    }
    Err(Failure::Ended(format!(
        "no chain has a ruling of case {case_id}; with `--nhi` it is not looked for"
    )))
}

fn find_in(
    cluster: &Cluster,
    log: &LogReader,
    partition: i32,
    case_id: &str,
) -> Result<Option<Subject>, Failure> {
    let decisions = &cluster.topics.decisions;
    let (low, mut end) = (log.low(decisions, partition)?, log.stable(decisions, partition)?);
    let named = format!("\"case_id\":\"{case_id}\"");
    while end > low {
        let start = (end - CHUNK).max(low);
        let mut found = None;
        log.read(decisions, partition, start..end, |message| {
            let bytes = message.value.unwrap_or_default();
            if memchr::memmem::find(bytes, named.as_bytes()).is_some() {
                found = subject(bytes, case_id).or(found.take());
            }
        })?;
        if found.is_some() {
            return Ok(found);
        }
        end = start;
    }
    Ok(None)
}

fn subject(bytes: &[u8], case_id: &str) -> Option<Subject> {
    let record = Record::parse(bytes)?;
    // A case that began without a ruling: a review, or the end of a suppression.
    let told = record.told.as_ref().filter(|told| told.case_id == case_id && told.revision == 1);
    if let (Some(told), None) = (told, &record.ruling) {
        let nhi = told.nhi.as_deref().or(record.alert_id.as_deref())?.to_owned();
        return Some(Subject { case_id: case_id.to_owned(), nhi, credential: None });
    }
    if !matches!(record.kind, Kind::Ruling | Kind::Revision) {
        return None;
    }
    record.counters.as_ref().filter(|counters| counters.case_id == case_id)?;
    let alert = record.alert.as_deref()?;
    let text = |field| alert.text(field).map(str::to_owned);
    Some(Subject {
        case_id: case_id.to_owned(),
        nhi: text(Field::NhiId).or_else(|| record.alert_id.clone())?,
        credential: text(Field::CredentialId).or_else(|| text(Field::CredentialFingerprint)),
    })
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
