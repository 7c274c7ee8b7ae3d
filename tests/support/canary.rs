//! A secret with everything in it that encodings change, planted where detectors put secrets.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fmt::Write;

use serde_json::{Map, Value};

/// Fits no scanner's pattern and has what encodings differ in.
pub const CANARY: &str = "notareal+canary/value=\"q\"\n\\é ==";

/// Where each detector's secrets stand, in the shape of its examples.
pub const PLANTED: &[(&str, &[&str])] = &[
    ("gitleaks", &["Secret"]),
    ("gitleaks", &["Match"]),
    ("okta-system-log", &["authenticationContext", "externalSessionId"]),
    ("aws-guardduty", &["service", "runtimeDetails", "context", "commandLineExample"]),
    ("aws-guardduty", &["service", "additionalInfo", "value"]),
];

/// Puts the canary at the path of every event, and `copy` into every other text of it.
pub fn plant(document: &mut Value, detector: &str, path: &[&str], copy: &str) {
    let envelope = ["detail", "Findings", "findings", "data", "events"];
    match document {
        Value::Array(items) => {
            items.iter_mut().for_each(|item| plant(item, detector, path, copy));
        }
        Value::Object(map) => {
            let inner = envelope.iter().find(|key| map.get(**key).is_some_and(|v| !v.is_null()));
            if let Some(inner) = inner {
                plant(&mut map[*inner], detector, path, copy);
            } else {
                map.values_mut().for_each(|value| copy_into(value, copy));
                put(map, path);
                restore(map, detector);
            }
        }
        _ => {}
    }
}

fn copy_into(value: &mut Value, copy: &str) {
    match value {
        Value::String(text) => *text = format!("{text} {copy}"),
        Value::Array(items) => items.iter_mut().for_each(|item| copy_into(item, copy)),
        Value::Object(map) => map.values_mut().for_each(|value| copy_into(value, copy)),
        _ => {}
    }
}

fn put(map: &mut Map<String, Value>, path: &[&str]) {
    let (first, rest) = path.split_first().unwrap();
    let known = map.keys().find(|key| key.eq_ignore_ascii_case(first)).cloned();
    let entry = map.entry(known.unwrap_or_else(|| (*first).to_owned()));
    if rest.is_empty() {
        *entry.or_insert(Value::Null) = Value::String(CANARY.to_owned());
        return;
    }
    let child = entry.or_insert_with(|| Value::Object(Map::new()));
    if !child.is_object() {
        *child = Value::Object(Map::new());
    }
    put(child.as_object_mut().unwrap(), rest);
}

/// What the pipeline knows the message by must stay readable, or nothing would be mapped.
fn restore(map: &mut Map<String, Value>, detector: &str) {
    let service = map.keys().find(|key| key.eq_ignore_ascii_case("service")).cloned();
    if let (Some(service), "aws-guardduty") = (service, detector) {
        let name = map[&service].as_object_mut().unwrap();
        let key = name.keys().find(|key| key.eq_ignore_ascii_case("servicename")).cloned();
        name.insert(key.unwrap_or("serviceName".to_owned()), Value::String("guardduty".to_owned()));
    }
}

/// The ways in which it could be written.
pub fn forms() -> Vec<String> {
    let json = serde_json::to_string(CANARY).unwrap();
    let json = json.trim_matches('"').to_owned();
    let ascii = json.replace('é', "\\u00e9").replace('/', "\\/");
    let bytes = CANARY.as_bytes();
    let after_a = [b"a", bytes].concat();
    vec![
        CANARY.to_owned(),
        serde_json::to_string(&json).unwrap().trim_matches('"').to_owned(),
        json,
        ascii,
        percent(bytes, false),
        percent(bytes, true),
        percent(percent(bytes, false).as_bytes(), false),
        base64(bytes),
        base64(bytes).replace('+', "-").replace('/', "_").replace('=', ""),
        base64(&after_a).get(2..).unwrap().trim_end_matches('=').to_owned(),
    ]
}

pub fn percent(bytes: &[u8], lower: bool) -> String {
    let mut out = String::new();
    for byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => out.push(char::from(*byte)),
            _ if lower => write!(out, "%{byte:02x}").unwrap(),
            _ => write!(out, "%{byte:02X}").unwrap(),
        }
    }
    out
}

pub fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let number = (0..3).fold(0_u32, |n, i| n << 8 | u32::from(*group.get(i).unwrap_or(&0)));
        for place in 0..4 {
            let digit = (number >> (18 - 6 * place)) & 63;
            out.push(if place > group.len() { '=' } else { char::from(ALPHABET[digit as usize]) });
        }
    }
    out
}
