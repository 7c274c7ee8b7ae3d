//! Any message, to all shipped pipelines. An input is written like a request: a pipeline's name (or
//! another, for a topic that nobody knows; `webhook NAME` where the sender chose it), headers, an
//! empty line, the body.
#![no_main]

mod shipped;

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tipstaff::normalize::{FingerprintKeys, Incoming, Pipelines};

static PIPELINES: LazyLock<(Pipelines, FingerprintKeys)> =
    LazyLock::new(|| (shipped::pipelines(), shipped::keys()));

struct Request<'i> {
    pipeline: &'i str,
    is_named: bool,
    headers: Vec<(&'i str, &'i [u8])>,
    body: &'i [u8],
}

fn request(input: &[u8]) -> Option<Request<'_>> {
    let (first, mut rest) = line(input)?;
    let first = std::str::from_utf8(first).ok()?;
    let named = first.strip_prefix("webhook ");
    let mut headers = Vec::new();
    loop {
        let (header, after) = line(rest)?;
        rest = after;
        if header.is_empty() {
            break;
        }
        let colon = header.iter().position(|byte| *byte == b':')?;
        headers.push((std::str::from_utf8(&header[..colon]).ok()?, &header[colon + 1..]));
    }
    let pipeline = named.unwrap_or(first);
    Some(Request { pipeline, is_named: named.is_some(), headers, body: rest })
}

fn line(input: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = input.iter().position(|byte| *byte == b'\n')?;
    Some((&input[..end], &input[end + 1..]))
}

fuzz_target!(|input: &[u8]| {
    let Some(request) = request(input) else { return };
    let (pipelines, keys) = &*PIPELINES;
    let known = pipelines.list().iter().find(|pipeline| pipeline.name == request.pipeline);
    let topic = known.map_or("a topic of nobody", |pipeline| pipeline.topic.as_str());
    let named = known.filter(|_| request.is_named).map(|pipeline| pipeline.name.as_str());
    let message = Incoming { headers: &request.headers, ..shipped::incoming(topic, request.body) };
    let arrivals = pipelines.read(&message, named, keys);
    shipped::check(&arrivals);
    assert_eq!(arrivals, pipelines.read(&message, named, keys), "read twice");
    assert_eq!(arrivals, pipelines.explain(&message, named, keys).0, "explained");
});
