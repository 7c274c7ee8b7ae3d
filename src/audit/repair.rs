use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::Record;
use crate::case::{Millis, Wait, Why};

/// One record in one source that a ruling waits for.
#[derive(Debug, Serialize)]
pub(super) struct Repair<'r> {
    enricher: &'r str,
    /// The record's key in the source.
    key: Cow<'r, str>,
    source: Cow<'r, str>,
    why: Why,
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<Millis>,
    /// One sentence.
    what: String,
}

/// Of a row as it stands in records.
#[derive(Deserialize)]
struct Row<'r> {
    #[serde(borrow)]
    enricher: Cow<'r, str>,
    #[serde(borrow)]
    source: Cow<'r, str>,
    #[serde(borrow)]
    key: Cow<'r, str>,
    as_of: Option<Millis>,
    #[serde(borrow)]
    detail: Option<Cow<'r, str>>,
}

/// What the ruling of this record waits for, in the order of its enrichers.
pub(super) fn repairs<'r>(record: &'r Record<'_>) -> Vec<Repair<'r>> {
    if record.waits.is_empty() {
        return Vec::new();
    }
    let rows: Vec<Row<'r>> =
        record.facts.iter().filter_map(|raw| serde_json::from_str(raw.0.get()).ok()).collect();
    let repair = |wait: &'r Wait<'_>| {
        let row = rows.iter().find(|row| row.enricher == wait.enricher)?;
        Some(Repair {
            enricher: &wait.enricher,
            key: row.key.clone(),
            source: row.source.clone(),
            why: wait.why,
            as_of: row.as_of,
            what: what(wait, row),
        })
    };
    record.waits.iter().filter_map(repair).collect()
}

fn what(wait: &Wait<'_>, row: &Row<'_>) -> String {
    let Row { source, key, .. } = row;
    // A key of several parts has a control character between them.
    let key = key.replace(char::is_control, " ");
    let mut what = match wait.why {
        Why::Stale => format!("renew the entry of `{key}` in {source}"),
        Why::Conflict => format!("settle what {source} says of `{key}`"),
        _ => format!("let {source} answer for `{key}`"),
    };
    what.push_str(&format!(": {}", wait.why.about()));
    if let (Why::Stale, Some(as_of)) = (wait.why, row.as_of) {
        what.push_str(&format!(", it is of {as_of}"));
    }
    if let Some(detail) = &row.detail {
        what.push_str(&format!(" ({detail})"));
    }
    what
}
