use std::collections::BTreeMap;

use serde_json::Value;
use tipstaff::case::{Field, Reason};

use super::skipped::skipped;
use super::*;

/// Folders of recorded events, and the topic that each would be published to.
const SUPPORTED: &[(&str, &str)] = &[
    ("auth0", "alerts.auth0"),
    ("aws-cloudtrail", "alerts.aws-cloudtrail"),
    ("aws-cloudtrail-eventbridge", "alerts.aws-cloudtrail"),
    ("aws-guardduty", "alerts.guardduty"),
    ("aws-health", "alerts.aws-health"),
    ("aws-securityhub", "alerts.aws-securityhub"),
    ("azure-kube-audit", "alerts.kubernetes-audit"),
    ("detect-secrets", "alerts.detect-secrets"),
    ("entra", "alerts.entra"),
    ("falco-alert", "alerts.falco"),
    ("gcp-audit", "alerts.gcp-audit"),
    ("gcp-scc", "alerts.gcp-scc"),
    ("ggshield", "alerts.ggshield"),
    ("gitguardian-api", "alerts.gitguardian"),
    ("github-audit", "alerts.github"),
    ("github-secret-scanning", "alerts.github"),
    ("gitlab-secret-detection", "alerts.gitlab-secret-detection"),
    ("gitleaks", "alerts.gitleaks"),
    ("google-workspace", "alerts.google-workspace"),
    ("k8s-audit", "alerts.kubernetes-audit"),
    ("okta-system-log", "alerts.okta"),
    ("secrets-sarif", "alerts.secrets-sarif"),
    ("trufflehog", "alerts.trufflehog"),
    ("vault-audit", "alerts.vault-audit"),
];

/// Recorded events that are not of their folder's format, by file and line, and why.
const STRANGERS: &[(&str, &str)] =
    &[("k8s-audit/falco-k8s-audit:49", "made to be malformed: its kind is a number")];

/// Labels that we rule otherwise on purpose, by file and line, and why.
const OTHERWISE: &[(&str, &str)] = &[
    ("aws-cloudtrail/crowdsec:11", "its ARN and its account spell one placeholder in two ways"),
    ("aws-cloudtrail/panther-rules:286", "AWS takes a role for its own service"),
    ("entra/panther-rules:4", "its result is `Success`: a device code, misused or not"),
    ("entra/panther-rules:7", "its result is `Success`: a script where a person should be"),
    ("entra/panther-rules:9", "its result is `Success`"),
    ("gcp-audit/panther-rules:107", "fires for the address alone, which is a lookup's work"),
    ("gitguardian-api/cassettes:2", "a scan that found nothing"),
    ("gitguardian-api/cassettes:5", "a scan that found nothing"),
    ("github-secret-scanning/defectdojo-rest:1", "resolved by a person"),
    ("github-secret-scanning/defectdojo-rest:3", "resolved by a person"),
    ("github-secret-scanning/octokit-webhooks-net:2", "says that a scan has ended"),
    ("google-workspace/panther-rules:18", "one download; the rule fires on many"),
    ("google-workspace/panther-rules:21", "about a mail, not about an identity or its credential"),
    ("google-workspace/panther-rules:23", "about a mail, not about an identity or its credential"),
    ("google-workspace/panther-rules:34", "about a mail, not about an identity or its credential"),
    ("google-workspace/panther-rules:36", "about a mail, not about an identity or its credential"),
    ("google-workspace/panther-rules:37", "about a mail, not about an identity or its credential"),
    ("google-workspace/panther-rules:39", "about a mail, not about an identity or its credential"),
    ("google-workspace/panther-rules:40", "about a mail, not about an identity or its credential"),
    ("google-workspace/panther-rules:41", "about a mail, not about an identity or its credential"),
    ("google-workspace/panther-rules:42", "about a mail, not about an identity or its credential"),
    ("google-workspace/panther-rules:43", "about a mail, not about an identity or its credential"),
    ("k8s-audit/falco-k8s-audit:27", "fires for the image of a pod, in one of eight rule sets"),
    ("vault-audit/vault-consul-docker:5", "the reply to the same request tells it"),
    ("vault-audit/vault-consul-docker:7", "the reply to the same request tells it"),
    ("vault-audit/vault-consul-docker:25", "the reply to the same request tells it"),
    ("vault-audit/vault-consul-docker:31", "the reply to the same request tells it"),
    ("vault-audit/vault-consul-docker:33", "the reply to the same request tells it"),
    ("vault-audit/vault-consul-docker:37", "the reply to the same request tells it"),
    ("vault-audit/vault-consul-docker:39", "the reply to the same request tells it"),
];

#[derive(Debug, Default)]
struct Count {
    events: usize,
    alerts: usize,
    dismissed: usize,
    unreadable: Vec<String>,
    agree: usize,
    disagree: Vec<String>,
    /// Events on which another project's rule must fire, and those of them that nobody would see.
    firing: usize,
    unseen: Vec<String>,
}

/// Events that others recorded, with labels that others gave; they are no part of this repository.
#[test]
fn recorded_events_are_read_and_agree_with_their_labels() {
    let samples = root().join("../shared/samples");
    let samples = std::env::var_os("TIPSTAFF_SAMPLES").map_or(samples, PathBuf::from);
    if !samples.is_dir() {
        skipped(&format!("no recorded events at {}", samples.display()));
        return;
    }
    let (pipelines, keys) = (shipped(), keys());
    let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
    for (folder, topic) in SUPPORTED {
        assert!(pipelines.topics().contains(topic), "nobody reads {topic}");
        let count = counts.entry(folder).or_default();
        for (stem, events, labels) in recorded(&samples.join(folder)) {
            for (index, (line, label)) in events.lines().zip(labels.lines()).enumerate() {
                let arrivals = pipelines.read(&incoming(topic, line.as_bytes()), None, &keys);
                let place = format!("{folder}/{stem}:{}", index + 1);
                judge(count, &place, &arrivals, &serde_json::from_str(label).unwrap());
            }
        }
    }
    let mut wrong = Vec::new();
    for (folder, count) in &counts {
        let Count { events, alerts, dismissed, unreadable, agree, disagree, firing, unseen } =
            count;
        eprintln!(
            "{folder:28} {events:5} events {alerts:5} alerts {dismissed:5} dismissed; labels {agree} agree, {} do not; {} of {firing} firing unseen; {} unreadable",
            disagree.len(),
            unseen.len(),
            unreadable.len(),
        );
        wrong.extend(unreadable.iter().filter(|what| !is_listed(STRANGERS, what)));
        wrong.extend(disagree.iter().chain(unseen).filter(|what| !is_listed(OTHERWISE, what)));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(counts.values().map(|count| count.agree).sum::<usize>() > 800);
}

/// Formats that nobody maps, and formats on a topic that is not theirs: an arrival all the same.
#[test]
fn recorded_events_of_any_format_have_an_arrival() {
    let samples = root().join("../shared/samples");
    let samples = std::env::var_os("TIPSTAFF_SAMPLES").map_or(samples, PathBuf::from);
    if !samples.is_dir() {
        return skipped(&format!("no recorded events at {}", samples.display()));
    }
    let (pipelines, keys) = (shipped(), keys());
    for folder in files_of(&samples).into_iter().filter(|path| path.is_dir()) {
        for (stem, events, _) in recorded(&folder) {
            let arrivals = pipelines.read(&incoming("any", events.as_bytes()), None, &keys);
            assert!(!arrivals.is_empty());
            for line in events.lines() {
                let arrivals = pipelines.read(&incoming("any", line.as_bytes()), None, &keys);
                let panicked = |arrival: &Arrival<'_>| matches!(&arrival.body, Body::Unreadable(u) if u.reason == Reason::RuleFailed);
                assert!(!arrivals.is_empty() && !arrivals.iter().any(panicked), "{stem}");
            }
        }
    }
}

fn is_listed(list: &[(&str, &str)], what: &str) -> bool {
    list.iter().any(|(place, _)| what.split(' ').next() == Some(place))
}

/// Name, events and labels of each file in a folder.
fn recorded(folder: &Path) -> Vec<(String, String, String)> {
    let mut files = Vec::new();
    for path in files_of(folder) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let stem = name.strip_suffix(".ndjson").filter(|name| !name.ends_with(".expected"));
        let Some(stem) = stem else { continue };
        let labels = path.with_file_name(format!("{stem}.expected.ndjson"));
        let labels = std::fs::read_to_string(labels).unwrap_or_default();
        files.push((stem.to_owned(), std::fs::read_to_string(&path).unwrap(), labels));
    }
    files
}

fn judge(count: &mut Count, place: &str, arrivals: &[Arrival<'_>], label: &Value) {
    count.events += 1;
    let mut ours = Vec::new();
    let mut event = String::new();
    judge_identity(count, place, arrivals, &label["oracle"]);
    for arrival in arrivals {
        let alert = match &arrival.body {
            Body::Alert(alert) => alert,
            Body::Unreadable(unreadable) => {
                count
                    .unreadable
                    .push(format!("{place} {} {}", unreadable.reason, unreadable.detail));
                continue;
            }
        };
        count.alerts += 1;
        let text = |field: Field| alert.text(field).unwrap_or("-").to_owned();
        event = format!("{} {}", text(Field::EventType), text(Field::EventAction));
        match alert.text(Field::NotAnAlert) {
            Some(id) => {
                count.dismissed += 1;
                ours.push(format!("none ({id})"));
            }
            None => ours.push(text(Field::Kind)),
        }
    }
    if ours.is_empty() {
        return;
    }
    let said = ours.join(", ");
    let (mut kind, basis) =
        (label["kind"].as_str().unwrap(), label["kind_basis"].as_str().unwrap());
    // A person looked at it.
    if label["oracle"]["expected"]["is_secret"] == false
        || place.contains("detect-secrets/native-report:3")
    {
        kind = "none";
    }
    if ["source", "field", "oracle"].contains(&basis) {
        let agrees = |one: &String| one == kind || (kind == "none" && one.starts_with("none"));
        if ours.iter().any(agrees) {
            count.agree += 1;
        } else {
            count.disagree.push(format!("{place} {event}: {kind}, ours {said}"));
        }
    }
    if must_be_seen(&label["oracle"]) {
        count.firing += 1;
        if ours.iter().all(|one| one.starts_with("none")) {
            let rule = label["oracle"]["expected"]["rule"].as_str().unwrap_or("-");
            count.unseen.push(format!("{place} {event}: {rule} fires, ours {said}"));
        }
    }
}

/// Where another project's parser says from where, and by whom.
fn judge_identity(count: &mut Count, place: &str, arrivals: &[Arrival<'_>], oracle: &Value) {
    let expected = &oracle["expected"];
    let custom = &expected["custom"];
    let user = if custom["usr"]["id"] == "" { &Value::Null } else { &custom["usr"]["id"] };
    let said = [
        (Field::SourceIp, [&expected["meta.source_ip"], &custom["network"]["client"]["ip"]]),
        (Field::SourceUserAgent, [&expected["meta.user_agent"], &custom["http"]["useragent"]]),
        (Field::NhiAccount, [&expected["meta.account_id"], &Value::Null]),
        (Field::NhiId, [user, &Value::Null]),
    ];
    let Some(Body::Alert(alert)) = arrivals.first().map(|arrival| &arrival.body) else { return };
    for (field, theirs) in said {
        for theirs in theirs.into_iter().filter_map(Value::as_str) {
            let ours = alert.text(field).unwrap_or_default();
            if ours == theirs || (field == Field::NhiId && ours.ends_with(theirs)) {
                count.agree += 1;
            } else {
                count.disagree.push(format!("{place} {}: {theirs}, ours {ours}", field.path()));
            }
        }
    }
}

/// Whether somebody's rule fires on the event alone.
fn must_be_seen(oracle: &Value) -> bool {
    match oracle["type"].as_str() {
        Some("panther") => {
            oracle["expected"]["alert"] == true && oracle["expected"]["mocked"] != true
        }
        Some("falco-detect") => {
            oracle["expected"].as_array().unwrap().iter().any(|run| run["detect"] == true)
        }
        _ => false,
    }
}
