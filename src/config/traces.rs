use std::collections::BTreeMap;

use super::secret::{Secret, SecretFrom, fetch, secret_from};
use crate::text::{At, Data, Fields, Node, Problems};

/// Where spans are sent over OTLP/HTTP, and of how many alerts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracesConfig {
    /// Without the path: `http://127.0.0.1:4318`.
    pub endpoint: String,
    /// Sent with every export. Their values are secrets.
    pub headers: Vec<(String, At, SecretFrom)>,
    /// Of a million alerts that come without a trace, how many begin one.
    pub sample_ppm: u32,
    pub service_name: String,
}

const PPM: u32 = 1_000_000;
const SAMPLE_PPM: u32 = 10_000;
const SERVICE_NAME: &str = "tipstaff";
const NAME_BYTES_MAX: usize = 100;

pub(super) fn traces(node: &Node, problems: &mut Problems) -> Option<TracesConfig> {
    let mut fields = Fields::of(node, "`traces`", problems)?;
    let endpoint = fields.require("endpoint", problems).and_then(|node| endpoint(node, problems));
    let at = fields.get("headers").map(|node| node.at.clone());
    let headers = fields.get("headers").map(|node| headers(node, problems)).unwrap_or_default();
    let sample = fields.get("sample").map(|node| sample(node, problems));
    let service_name = fields.text("service_name", problems).unwrap_or(SERVICE_NAME).to_owned();
    if service_name.is_empty() || service_name.len() > NAME_BYTES_MAX {
        problems.add(&node.at, "`service_name` must be 1 to 100 bytes");
    }
    fields.finish(problems);
    let endpoint = endpoint?;
    if let Some(at) = at.filter(|_| !headers.is_empty() && !is_private(&endpoint)) {
        let help =
            "headers hold secrets: with them the endpoint must be https:// or on this machine";
        problems.add(&at, help);
    }
    let sample_ppm = sample.unwrap_or(SAMPLE_PPM);
    Some(TracesConfig { endpoint, headers, sample_ppm, service_name })
}

impl TracesConfig {
    pub(super) fn secrets(
        &self,
        read: &dyn Fn(&SecretFrom) -> Result<String, String>,
        problems: &mut Problems,
    ) -> Option<BTreeMap<String, Secret>> {
        let mut found = BTreeMap::new();
        for (name, at, from) in &self.headers {
            let text = fetch(from, at, read, problems)?;
            if !text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
                problems.add(at, format!("{from} can't be the value of a header"));
                return None;
            }
            found.insert(name.clone(), Secret::new(text.into_bytes()));
        }
        Some(found)
    }
}

fn endpoint(node: &Node, problems: &mut Problems) -> Option<String> {
    let text = node.text().unwrap_or_default();
    let text = text.strip_suffix('/').unwrap_or(text);
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_plain = |rest: &str| {
        rest.bytes().all(|byte| byte.is_ascii_graphic() && !b"@?#\"<>\\^`{|}".contains(&byte))
    };
    let is_right = rest.is_some_and(|rest| is_plain(rest) && !host(rest).is_empty());
    if !is_right {
        let help = "`endpoint` must be a URL without a user, a query or `/v1/traces`: http://127.0.0.1:4318";
        problems.add(&node.at, help);
    }
    if text.ends_with("/v1/traces") {
        problems.add(&node.at, "`endpoint` is without `/v1/traces`, which is added");
    }
    is_right.then(|| text.to_owned())
}

/// Without the port.
fn host(rest: &str) -> &str {
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn is_private(endpoint: &str) -> bool {
    let plain = endpoint.strip_prefix("http://");
    plain.is_none_or(|rest| {
        let host = host(rest);
        let address = host.trim_start_matches('[').trim_end_matches(']');
        let address = address.parse::<std::net::IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    })
}

fn headers(node: &Node, problems: &mut Problems) -> Vec<(String, At, SecretFrom)> {
    let mut found = Vec::new();
    let Some(mut fields) = Fields::of(node, "`headers`", problems) else { return found };
    for (key, value) in fields.rest() {
        let name = key.text().unwrap_or_default().to_ascii_lowercase();
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if name.is_empty() || !name.bytes().all(allowed) {
            problems.add(&key.at, "the name of a header must be letters, digits, `-`, `_` or `.`");
            continue;
        }
        let from = secret_from(value, &name, problems);
        found.extend(from.map(|from| (name, value.at.clone(), from)));
    }
    found
}

/// Exact, as every number that a file holds: no float is made of it.
fn sample(node: &Node, problems: &mut Problems) -> u32 {
    let read = match &node.data {
        Data::Int(0) => Some(0),
        Data::Int(1) => Some(PPM),
        Data::Decimal(text) => millionths(text),
        _ => None,
    };
    read.unwrap_or_else(|| {
        let help = "`sample` must be a number from 0 to 1 with at most six decimals, as in 0.01";
        problems.add(&node.at, help);
        SAMPLE_PPM
    })
}

fn millionths(text: &str) -> Option<u32> {
    let (whole, decimals) = text.split_once('.')?;
    let is_number = !decimals.is_empty() && decimals.bytes().all(|byte| byte.is_ascii_digit());
    let parts = format!("{decimals:0<6}").parse::<u32>().ok().filter(|_| is_number)?;
    let ppm = match whole {
        "0" => parts,
        "1" => PPM.checked_add(parts)?,
        _ => return None,
    };
    (ppm <= PPM && decimals.len() <= 6).then_some(ppm)
}
