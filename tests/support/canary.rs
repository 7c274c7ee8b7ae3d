//! A secret with everything in it that encodings change.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fmt::Write;

/// Fits no scanner's pattern and has what encodings differ in.
pub const CANARY: &str = "notareal+canary/value=\"q\"\n\\é ==";

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
