//! Any message, to all shipped pipelines. An input's first line is a pipeline's name, or another for
//! a topic that nobody knows; `webhook NAME` where the sender chose it.
#![no_main]

mod request;
mod shipped;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use request::request;
use tipstaff::normalize::{FingerprintKeys, Incoming, Pipelines};

static PIPELINES: LazyLock<(Pipelines, FingerprintKeys)> =
    LazyLock::new(|| (shipped::pipelines(), shipped::keys()));

/// The body with a token behind one of its letters or digits, which the body itself chooses.
fn planted(body: &[u8], token: &str) -> Option<Vec<u8>> {
    let letters = || (1..=body.len()).filter(|at| body[at - 1].is_ascii_alphanumeric());
    let sum = body
        .iter()
        .fold(7_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    let at = letters().nth(sum % letters().count().max(1))?;
    Some([&body[..at], b" ", token.as_bytes(), b" ", &body[at..]].concat())
}

fuzz_target!(|input: &[u8]| {
    let Some(request) = request(input) else { return };
    let (pipelines, keys) = &*PIPELINES;
    let webhook = request.first.strip_prefix("webhook ");
    let name = webhook.unwrap_or(request.first);
    let known = pipelines.list().iter().find(|pipeline| pipeline.name == name);
    let topic = known.map_or("a topic of nobody", |pipeline| pipeline.topic.as_str());
    let named = known.filter(|_| webhook.is_some()).map(|pipeline| pipeline.name.as_str());
    let message = Incoming { headers: &request.headers, ..shipped::incoming(topic, request.body) };
    let arrivals = pipelines.read(&message, named, keys);
    shipped::check(&arrivals);
    assert_eq!(arrivals, pipelines.read(&message, named, keys), "read twice");
    // Explaining is slow, and reads as reading does.
    if request.body.len().is_multiple_of(16) {
        assert_eq!(arrivals, pipelines.explain(&message, named, keys).0, "explained");
    }
    let token = format!("{}_{}", "ghp", "n0tArea1".repeat(5));
    let Some(body) = planted(request.body, &token) else { return };
    let arrivals = pipelines.read(&Incoming { value: Some(&body), ..message }, named, keys);
    shipped::check(&arrivals);
    let written = serde_json::to_string(&arrivals).unwrap();
    assert!(!written.contains(&token), "a token came out: {written}");
});
