use super::enricher::{KeySpec, SourceConfig, TableSource};
use super::http::HttpConfig;
use crate::text::{At, Problems};

/// Whether a source is asked by as many parts as the enricher's key has.
pub(super) fn check_parts(key: &KeySpec, source: &SourceConfig, at: &At, problems: &mut Problems) {
    let wanted = match key {
        KeySpec::All(fields) => fields.len(),
        KeySpec::First(_) => 1,
    };
    match source {
        SourceConfig::Table(table) => check_table(wanted, table, problems),
        SourceConfig::Addresses(_) if wanted != 1 => {
            problems.add(at, format!("the key has {wanted} parts, but an address is one"));
        }
        SourceConfig::AwsIam(iam) if wanted != 1 => {
            problems
                .add(&iam.at, format!("the key has {wanted} parts, but an access key's id is one"));
        }
        SourceConfig::Topic(topic) if topic.key.parts() != wanted => {
            let have = topic.key.parts();
            problems.add(
                &topic.at,
                format!("the key has {wanted} parts, but the topic's records {have}"),
            );
        }
        SourceConfig::Http(http) => check_http(wanted, http, problems),
        SourceConfig::Combine(source) => {
            source.parts.iter().for_each(|part| check_parts(key, &part.source, at, problems));
        }
        SourceConfig::Addresses(_) | SourceConfig::AwsIam(_) | SourceConfig::Topic(_) => {}
    }
}

fn check_table(wanted: usize, table: &TableSource, problems: &mut Problems) {
    let have = table.key.len();
    if have != 0 && have != wanted {
        let message = format!("the key has {wanted} parts, but the table {have} key columns");
        problems.add(&table.at, message);
    }
}

fn check_http(wanted: usize, http: &HttpConfig, problems: &mut Problems) {
    let have = http.key.len();
    let message = match &http.via {
        Some(via) => {
            check_table(wanted, &via.table, problems);
            let given = via.gives.len();
            (have != given).then(|| {
                format!("`via` gives {given} fields, but `key` of `http` has {have} patterns")
            })
        }
        None => (have != wanted)
            .then(|| format!("the key has {wanted} parts, but `key` of `http` {have} patterns")),
    };
    if let Some(message) = message {
        problems.add(&http.at, message);
    }
}
