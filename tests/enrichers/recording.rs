//! `enrichers/<name>/replies.json`: calls, and what comes of a lookup that makes some of them.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// What they are shaped after.
    pub about: String,
    pub services: BTreeMap<String, Shown>,
    pub calls: Vec<Call>,
    pub lookups: Vec<Lookup>,
}

/// What a service has to be shown.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shown {
    /// As it stands in `services:`; the secret is `{file: <service>}`.
    pub config: String,
    pub secret: String,
    /// The header of every request.
    pub header: String,
    pub value: String,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Call {
    pub name: String,
    pub service: String,
    pub request: Request,
    pub response: Response,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub method: String,
    pub path: String,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: Option<Value>,
}

#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Response {
    pub status: u16,
    /// `{url}` in a value is the server's own.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    #[serde(default)]
    pub body: Option<Value>,
    /// In place of JSON.
    #[serde(default)]
    pub text: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    pub name: String,
    pub key: Vec<String>,
    /// Exactly these are made, each once.
    pub calls: Vec<String>,
    /// Known, absent or unknown with its reason: `unknown(error)`.
    pub fact: String,
    #[serde(default)]
    pub values: Value,
    /// Part of what is told of it.
    #[serde(default)]
    pub told: Option<String>,
}

pub fn path(enricher: &str) -> PathBuf {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.join("enrichers").join(enricher).join("replies.json")
}

impl Recording {
    pub fn read(enricher: &str) -> Self {
        let text = std::fs::read_to_string(path(enricher)).unwrap();
        let read: Self =
            serde_json::from_str(&text).unwrap_or_else(|why| panic!("{enricher}: {why}"));
        assert!(!read.about.is_empty());
        for call in &read.calls {
            let times = read.calls.iter().filter(|each| each.name == call.name).count();
            let used = read.lookups.iter().any(|lookup| lookup.calls.contains(&call.name));
            assert!(times == 1 && used, "{enricher}: `{}`", call.name);
        }
        read
    }

    pub fn calls_of(&self, lookup: &Lookup) -> Vec<Call> {
        let find = |name: &String| self.calls.iter().find(|call| call.name == *name).cloned();
        lookup.calls.iter().map(|name| find(name).unwrap_or_else(|| panic!("{name}"))).collect()
    }
}
