//! What is triaged: events like the shipped examples about some thousand identities, the shipped
//! policy, and tables of 10,000 rows. The same in every process: nothing here is left to chance.
#![allow(dead_code, reason = "each bench uses a part of it")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tipstaff::app::{InForce, Loaded, offline_keys};
use tipstaff::case::{Arrival, Body, Field, Millis};
use tipstaff::config::{Files, load as check};
use tipstaff::enrich::Enrichers;
use tipstaff::normalize::{FingerprintKeys, Incoming};
use tipstaff::text::Source;

pub const PARTITIONS: i32 = 4;
const IDENTITIES: u64 = 4000;
const ROWS: usize = 10_000;
/// Events from which the identities for the tables are taken.
const SAMPLE: u64 = 20_000;
/// One message in so many cannot be read.
const UNREADABLE_EVERY: u64 = 200;
const DETECTORS: [(&str, &str); 3] = [
    ("aws-guardduty", "alerts.guardduty"),
    ("gitleaks", "alerts.gitleaks"),
    ("okta-system-log", "alerts.okta"),
];
/// What names an identity in the examples; an event has its own in their place.
const NAMES: [&str; 9] = [
    "ci-deployer",
    "DEPLOYKEYEXAMPLE",
    "OTHERKEY0EXAMPLE",
    "SESSIONEXAMPLEAA",
    "exampledana",
    "examplehrsync",
    "examplebackup",
    "notarealsecret",
    "acme/billing",
];

/// What the tables are looked up by: owner and rotation, repository, registry, vault.
const KEYS: [&[Field]; 4] = [
    &[Field::NhiId],
    &[Field::Repository],
    &[Field::CredentialId, Field::CredentialFingerprint],
    &[Field::CredentialId, Field::CredentialFingerprint, Field::NhiId],
];

pub struct Event {
    pub topic: &'static str,
    pub value: String,
}

/// Examples that become one alert each, and those that become none.
pub struct Events {
    good: Vec<Event>,
    bad: Vec<Event>,
}

pub struct Load {
    pub loaded: Loaded,
    pub keys: Arc<FingerprintKeys>,
    pub events: Events,
    pub now: Millis,
}

impl Load {
    /// `more_rules` stand in front of each playbook's own and are never true.
    pub fn new(now: Millis, more_rules: usize) -> Self {
        let more = format!("\nrules:\n{}", rules(more_rules));
        // What they ask of is not there in `activity`.
        Self::with(now, &|text| match text.starts_with("playbook: activity\n") {
            true => text.to_owned(),
            false => text.replacen("\nrules:\n", &more, 1),
        })
    }

    /// Playbooks group nothing and have no windows, nor rules that ask for them.
    pub fn without_correlation(now: Millis) -> Self {
        Self::with(now, &forgetful)
    }

    fn with(now: Millis, playbook: &dyn Fn(&str) -> String) -> Self {
        let keys = offline_keys().unwrap();
        let mut files = Files::shipped();
        let plain = loaded(files.clone(), now);
        let events = Events::read(&plain, &keys);
        let mut seen: [BTreeSet<String>; 4] = Default::default();
        for n in 0..SAMPLE {
            for arrival in arrivals(&plain, &keys, &events.get(n), (0, n as i64), now) {
                let Body::Alert(alert) = &arrival.body else { continue };
                for (seen, fields) in seen.iter_mut().zip(KEYS) {
                    seen.extend(fields.iter().find_map(|f| alert.text(*f)).map(str::to_owned));
                }
            }
        }
        for (path, text) in tables(seen, now) {
            files.insert(path, Source::new(path, text), Some(now));
        }
        // YAML tables are for small ones.
        for name in ["registry", "repository"] {
            let path = format!("enrichers/{name}/enricher.yaml");
            let text = files.get(&path).unwrap().source.text.replace("s.yaml", "s.ndjson");
            files.insert(&path, Source::new(path.clone(), text), Some(now));
        }
        for name in ["activity", "auth-failure", "exposed-key", "token-misuse"] {
            let path = format!("playbooks/{name}.yaml");
            let text = playbook(&files.get(&path).unwrap().source.text);
            files.insert(&path, Source::new(path.clone(), text), Some(now));
        }
        Self { loaded: loaded(files, now), keys: Arc::new(keys), events, now }
    }

    pub fn arrivals(&self, n: u64) -> Vec<Arrival<'static>> {
        arrivals(&self.loaded, &self.keys, &self.events.get(n), (0, n as i64), self.now)
    }
}

pub fn loaded(files: Files, now: Millis) -> Loaded {
    let checked = check(&files).unwrap_or_else(|problems| panic!("{problems:#?}"));
    let enrichers = Enrichers::new(&checked.enrichers, &files, now);
    let enrichers = Arc::new(enrichers.unwrap_or_else(|problems| panic!("{problems:#?}")));
    let in_force = InForce::new(&checked);
    Loaded { directory: None, files, checked, enrichers, in_force }
}

fn arrivals(
    loaded: &Loaded,
    keys: &FingerprintKeys,
    event: &Event,
    (partition, offset): (i32, i64),
    now: Millis,
) -> Vec<Arrival<'static>> {
    let incoming = Incoming {
        topic: event.topic,
        incarnation: "bench-incarnation-0000",
        partition,
        offset,
        headers: &[],
        value: Some(event.value.as_bytes()),
        received_at: now,
    };
    loaded.checked.pipelines.read(&incoming, None, keys)
}

impl Events {
    fn read(loaded: &Loaded, keys: &FingerprintKeys) -> Self {
        let mut events = Self { good: Vec::new(), bad: Vec::new() };
        for (path, file) in loaded.files.iter() {
            let detector = DETECTORS
                .iter()
                .find(|(name, _)| path.starts_with(&format!("pipelines/{name}/examples/")));
            let Some((_, topic)) = detector else { continue };
            let Ok(json) = serde_json::from_str::<serde_json::Value>(&file.source.text) else {
                continue;
            };
            let event = Event { topic, value: json.to_string() };
            match arrivals(loaded, keys, &event, (0, 0), Millis(0)).as_slice() {
                [Arrival { body: Body::Alert(_), .. }] => events.good.push(event),
                [Arrival { body: Body::Unreadable(_), .. }] => events.bad.push(event),
                _ => {}
            }
        }
        assert!(events.good.len() > 20 && !events.bad.is_empty(), "examples are missing");
        events
    }

    pub fn get(&self, n: u64) -> Event {
        let chance = mixed(n);
        let of = if n.is_multiple_of(UNREADABLE_EVERY) { &self.bad } else { &self.good };
        let example = &of[(chance >> 32) as usize % of.len()];
        let identity = format!("{:016}", chance % IDENTITIES);
        let mut value = example.value.clone();
        for name in NAMES {
            let own = if name.contains('/') { "acme/r" } else { "" };
            value = value.replace(name, &format!("{own}{identity}"));
        }
        Event { topic: example.topic, value }
    }
}

/// SplitMix64: spreads consecutive numbers.
pub fn mixed(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn forgetful(playbook: &str) -> String {
    let (head, rest) = playbook.split_once("\nrules:\n").unwrap();
    let rules = rest.split("\ntests:\n").next().unwrap_or_default();
    let (head, windows) = head.split_once("\nwindows:\n").unwrap_or((head, ""));
    let head: String = head
        .lines()
        .filter(|line| !line.starts_with("group:"))
        .map(|line| format!("{line}\n"))
        .collect();
    let names = windows.lines().filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
    let mut asks: Vec<String> = names.map(|name| format!("{}.", name.trim())).collect();
    asks.push("counters.".to_owned());
    let rules = format!("\n{rules}");
    let kept = rules.split("\n  - id: ").skip(1);
    let kept: String = kept
        .filter(|rule| !asks.iter().any(|ask| rule.contains(ask.as_str())))
        .map(|rule| format!("  - id: {rule}\n"))
        .collect();
    format!("{head}rules:\n{kept}")
}

fn rules(count: usize) -> String {
    let rule = |n: usize| {
        format!(
            "  - id: never-{n}\n    when:\n      - event.action == \"never-{n}\"\n      \
             - owner.team in [\"nobody-{n}\", \"no-one-{n}\"]\n      - severity == \"critical\"\n    \
             on_unknown: next\n    \
             route: {{queue: soc-triage, priority: low, ack_within: 4h}}\n"
        )
    };
    (0..count).map(rule).collect()
}

/// Rows for nine of ten values that alerts have, and as many others as make 10,000.
fn tables(seen: [BTreeSet<String>; 4], now: Millis) -> BTreeMap<&'static str, String> {
    let [nhi, repository, credential, vault] = seen.map(|found| {
        let found = found.into_iter().enumerate().filter(|(n, _)| n % 10 != 0);
        let mut keys: Vec<String> = found.map(|(_, key)| key).collect();
        let more = ROWS.saturating_sub(keys.len());
        keys.extend((0..more).map(|n| format!("filler-{n:016}")));
        keys
    });
    let text = |head: &str, keys: &[String], row: &dyn Fn(usize, &str) -> String| {
        let rows = keys.iter().enumerate().map(|(n, key)| row(n, key));
        std::iter::once(head.to_owned()).chain(rows).collect::<String>()
    };
    let pick = |n: usize, of: &[&'static str]| of[mixed(n as u64) as usize % of.len()];
    let owners =
        text("nhi_id,team,person,on_call,tier,environment,lifecycle\n", &nhi, &|n, key| {
            let (tier, at) = (pick(n, &["0", "1", "2", "2", "3"]), pick(n + 7, &ENVIRONMENTS));
            format!("{key},team-{},Ada Example,team-{}-oncall,{tier},{at},active\n", n % 90, n % 90)
        });
    let rotations =
        text("nhi_id,last_rotated,policy_days,overdue,in_progress\n", &nhi, &|n, key| {
            let (overdue, runs) = (n % 5 == 0, n % 20 == 1);
            format!("{key},2026-01-18T08:00:00Z,90,{overdue},{runs}\n")
        });
    let repositories = text("", &repository, &|n, key| {
        let who = pick(n, &["public", "internal", "private", "private"]);
        format!(
            "{{\"name\":\"{key}\",\"visibility\":\"{who}\",\"codeowners\":\"@acme/t{}\",\
             \"archived\":false,\"last_push\":\"2026-03-02T07:55:12Z\",\"default_branch\":\"main\"}}\n",
            n % 90
        )
    });
    let fixtures = text("", &credential, &|n, key| {
        let fixture = n % 50 == 1;
        format!(
            "{{\"credential\":\"{key}\",\"fixture\":{fixture},\"canary\":false,\"inert\":{fixture},\
             \"purpose\":\"tests\",\"approved_by\":\"application-security\"}}\n"
        )
    });
    let vaults = text("", &vault, &|n, key| {
        let state = pick(n, &["active", "active", "active", "revoked"]);
        format!(
            "{{\"credential\":\"{key}\",\"managed\":true,\"path\":\"kv/team-{}/key\",\"version\":4,\
             \"state\":\"{state}\",\"last_read\":\"2026-03-02T07:55:12Z\",\"created\":\"2026-03-01T00:00:00Z\",\
             \"current_version\":4,\"deleted\":null,\"expires\":null,\"policies\":null,\
             \"rotation\":null,\"exported_at\":\"{now}\"}}\n",
            n % 90
        )
    });
    BTreeMap::from([
        ("enrichers/owner/owners.csv", owners),
        ("enrichers/rotation/rotations.csv", rotations),
        ("enrichers/repository/repositories.ndjson", repositories),
        ("enrichers/registry/fixtures.ndjson", fixtures),
        ("enrichers/vault/vault.ndjson", vaults),
    ])
}

const ENVIRONMENTS: [&str; 5] = ["production", "production", "staging", "development", "sandbox"];
