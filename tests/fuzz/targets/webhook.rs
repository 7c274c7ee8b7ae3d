//! Any request, to every kind of webhook sender. An input's first line is the kind and how many
//! seconds its clock is off.
//!
//! The sender's code is compiled here by itself: with all of the shell around it, building would
//! take longer than fuzzing.
#![no_main]

mod case {
    pub(crate) use crate::digits::{from_base64, from_hex, hex};
    pub use tipstaff::case::Millis;
}
mod config {
    pub use tipstaff::config::{Secret, Verify};
}
#[path = "../../../src/case/digits.rs"]
mod digits;
mod request;
#[path = "../../../src/receive/sender.rs"]
#[allow(dead_code, reason = "the shell uses all of it")]
mod sender;
#[path = "../../../src/receive/signature.rs"]
mod signature;

use hmac::{Hmac, KeyInit, Mac};
use libfuzzer_sys::fuzz_target;
use sha2::Sha256;

use case::{Millis, hex};
use config::{Secret, Verify};
use request::{Request, request};
use sender::Sender;

const KEY: &[u8] = b"notareal:webhook-secret-of-the-fuzzer";
const KEY_BASE64: &[u8] = b"Basic bm90YXJlYWw6d2ViaG9vay1zZWNyZXQtb2YtdGhlLWZ1enplcg==";
const NOW_S: i64 = 1_767_225_600;
const WINDOW_S: i64 = 300;
const KINDS: &[&str] = &["github", "gitguardian", "standard", "bearer", "basic", "x-example-token"];

fn verify(kind: &str) -> Verify {
    match kind {
        "github" => Verify::Github,
        "gitguardian" => Verify::Gitguardian,
        "standard" => Verify::StandardWebhooks,
        "bearer" => Verify::Bearer,
        "basic" => Verify::Basic,
        name => Verify::Header(name.to_owned()),
    }
}

fn mac(key: &[u8], message: &[&[u8]]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    message.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| char::from(DIGITS[bits as usize & 63]);
    let group = |three: &[u8]| {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | u32::from(*three.get(at).unwrap_or(&0)));
        let digits = (0..=three.len()).map(|at| digit(bits >> (18 - 6 * at)));
        digits.collect::<String>()
    };
    let text: String = bytes.chunks(3).map(group).collect();
    format!("{text}{}", "=".repeat((3 - bytes.len() % 3) % 3))
}

/// What a sender of the kind adds, as its documentation has it, and whether that covers the body.
fn proof(kind: &str, seconds: i64, body: &[u8]) -> (Vec<(&'static str, Vec<u8>)>, bool) {
    let time = seconds.to_string().into_bytes();
    let signed = |signature: Vec<u8>| format!("sha256={}", hex(&signature)).into_bytes();
    match kind {
        "github" => (vec![("x-hub-signature-256", signed(mac(KEY, &[body])))], true),
        "gitguardian" => {
            let signature = signed(mac(&[&time, KEY].concat(), &[body]));
            (vec![("gitguardian-signature", signature), ("timestamp", time)], true)
        }
        "standard" => {
            let message = [b"msg_1", &b"."[..], &time, b".", body];
            let signature = format!("v1,{}", base64(&mac(KEY, &message))).into_bytes();
            let id = ("webhook-id", b"msg_1".to_vec());
            (vec![id, ("webhook-timestamp", time), ("webhook-signature", signature)], true)
        }
        "bearer" => (vec![("authorization", [b"Bearer ", KEY].concat())], false),
        "basic" => (vec![("authorization", KEY_BASE64.to_vec())], false),
        _ => (vec![("x-example-token", KEY.to_vec())], false),
    }
}

fn check(sender: &Sender, kind: &str, off_s: i64, request: &Request<'_>) {
    let Request { headers, body, .. } = request;
    let now = Millis(NOW_S * 1000);
    let (proof, is_signed) = proof(kind, NOW_S + off_s, body);
    let names: Vec<&str> = proof.iter().map(|(name, _)| *name).collect();
    let is_proof = |name: &str| names.iter().any(|proof| proof.eq_ignore_ascii_case(name));
    let mut all: Vec<(&str, &[u8])> = headers.clone();
    all.retain(|(name, _)| !is_proof(name));
    assert_eq!(sender.verified(&all, body, now), None, "without any proof");
    all.extend(proof.iter().map(|(name, value)| (*name, value.as_slice())));

    let has_time = matches!(kind, "gitguardian" | "standard");
    let is_in_time = !has_time || off_s.abs() <= WINDOW_S;
    let verified = sender.verified(&all, body, now);
    assert_eq!(verified.is_some(), is_in_time, "{kind} {off_s} s off");
    assert_eq!(verified, sender.verified(&all, body, now), "asked twice");
    let id = verified.and_then(|verified| verified.id);
    let is_plain = |id: &String| id.len() < 150 && id.bytes().all(|byte| byte.is_ascii_graphic());
    assert!(id.as_ref().is_none_or(is_plain), "{id:?}");

    let other = [body, &b"x"[..]].concat();
    let of_other = sender.verified(&all, &other, now);
    if is_signed {
        assert_eq!(of_other, None, "{kind}: another body");
    } else if let Some(other) = of_other {
        assert!(other.id.is_none() || other.id != id, "{kind}: one name for two bodies");
    }
    let stranger = Sender::new(verify(kind), vec![Secret::new(*b"another")], WINDOW_S * 1000);
    assert_eq!(stranger.verified(&all, body, now), None, "{kind}: another secret");
    for (name, value) in sender.passed(&all) {
        let is_shown = value.windows(KEY.len()).any(|part| part == KEY) || value == KEY_BASE64;
        let is_ours = proof.iter().any(|(proof, own)| *proof == name && own == value);
        assert!(!(is_shown && is_ours), "{kind}: `{name}` is passed on");
    }
}

fuzz_target!(|input: &[u8]| {
    let Some(request) = request(input) else { return };
    let (kind, off_s) = request.first.split_once(' ').unwrap_or((request.first, "0"));
    let Some(kind) = KINDS.iter().find(|known| **known == kind) else { return };
    let off_s = off_s.parse::<i32>().unwrap_or(0);
    let secrets = vec![Secret::new(*b"notareal-older-secret"), Secret::new(KEY)];
    let sender = Sender::new(verify(kind), secrets, WINDOW_S * 1000);
    // Nobody signs by chance.
    let verified = sender.verified(&request.headers, request.body, Millis(NOW_S * 1000));
    let is_admitted = sender.is_admitted(&request.headers);
    assert!(verified.is_none() || is_admitted == Some(true), "{kind}: forged");
    check(&sender, kind, off_s.into(), &request);
});
