//! What is done to one alert besides ruling it: an event becomes it, and what was decided becomes a
//! record on the chain, what people are told, and what is remembered.

use std::borrow::Cow;
use std::hint::black_box;
use std::path::Path;

use tipstaff::audit::{Actor, Chain, Engine, Folded as _, Kind, PolicyRef, Raw, Record, outputs};
use tipstaff::case::{Body, Id, id_of};
use tipstaff::correlate::{News, State};
use tipstaff::decide::{Inputs, decide};
use tipstaff::normalize::{FingerprintKeys, Incoming, Pipelines};
use tipstaff::policy::Policy;
use tipstaff::text::{Problems, Source};

use crate::NOW;

const PIPELINE: &str = "aws-cloudtrail";
/// Of 1 KiB.
const EVENT: &str = "event-bridge";

pub struct Event {
    pipelines: Pipelines,
    keys: FingerprintKeys,
    bytes: Vec<u8>,
}

impl Event {
    pub fn new() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../pipelines");
        let source = |path: &str| {
            let text = std::fs::read_to_string(folder.join(path));
            Source::new(path, text.unwrap_or_else(|error| panic!("{path}: {error}")))
        };
        let (pipeline, aliases) = (format!("{PIPELINE}/pipeline.yaml"), source("aliases.csv"));
        let mut problems = Problems::default();
        let sources = [source(&pipeline)];
        let pipelines = tipstaff::normalize::compile(&sources, Some(&aliases), &mut problems);
        let pipelines = pipelines.unwrap_or_else(|| panic!("{:?}", problems.into_sorted()));
        let example = source(&format!("{PIPELINE}/examples/{EVENT}.json")).text;
        let value: serde_json::Value = serde_json::from_str(&example).expect("an example");
        let keys = FingerprintKeys::new(("bench", &[7; 32]), None).expect("a key");
        Self { pipelines, keys, bytes: value.to_string().into_bytes() }
    }

    /// As serde_json reads it when nobody asks for anything.
    pub fn parse(&self) {
        let value: Result<serde_json::Value, _> = serde_json::from_slice(&self.bytes);
        drop(black_box(value.expect("an example")));
    }

    pub fn map(&self) {
        let incoming = Incoming {
            topic: "alerts.aws-cloudtrail",
            incarnation: "bench",
            partition: 0,
            offset: 0,
            headers: &[],
            value: Some(&self.bytes),
            received_at: NOW,
        };
        self.pipelines.read_then(&incoming, None, &self.keys, |arrivals| {
            assert!(matches!(arrivals.as_slice(), [one] if one.body.alert().is_some()));
        });
    }
}

/// A chain, and what is remembered of it.
pub struct Lane {
    chain: Chain,
    state: State,
    line: Vec<u8>,
}

impl Lane {
    pub fn new() -> Self {
        let (chain, state) = (Chain::new("bench/bench.decisions/0/0", None), State::default());
        Self { chain, state, line: Vec::new() }
    }

    /// All that follows from one alert, the ruling included.
    pub fn rule(&mut self, policy: &Policy, inputs: &Inputs<'_>) {
        let Body::Alert(alert) = &inputs.arrival.body else { panic!("an alert") };
        let next = self.chain.head().map_or(0, |head| head.seq + 1);
        let alert_id: Id = id_of("alert", &[&next.to_be_bytes()]);
        let counters = self.state.counters(&alert_id, Some(alert), policy.group(alert), inputs.now);
        let decision = decide(policy, &Inputs { counters: &counters, ..*inputs }).decision;
        let news = News {
            alert_id: &alert_id,
            alert,
            counters: &counters,
            decision: &decision,
            break_out: None,
            revised: None,
            now: inputs.now,
        };
        let engine = Engine { version: "1".into(), build: "bench".into() };
        let actor = Actor { service: "triage".into(), instance: "bench".into() };
        let facts = inputs.facts.iter().flatten();
        let mut record = Record {
            told: self.state.cases().told(&news),
            alert_id: Some(alert_id),
            correlation_id: Some(Cow::Borrowed(&inputs.arrival.correlation_id)),
            origin: Some(Cow::Borrowed(&inputs.arrival.origin)),
            pipeline: Some(Cow::Borrowed(&inputs.arrival.pipeline)),
            alert: Some(Cow::Borrowed(alert)),
            facts: facts.map(|row| Raw(row.json())).collect(),
            counters: Some(Cow::Borrowed(&counters)),
            policy: Some(PolicyRef { hash: "0".into(), generation: 1, signers: Vec::new() }),
            ruling: Some(Cow::Borrowed(&decision)),
            ..Record::new(Kind::Ruling, inputs.now, engine, actor)
        };
        let appended = self.chain.append(&mut record, &mut self.line).expect("a record");
        self.state.apply(&record, appended.hash);
        outputs(&record, appended, &mut |output| drop(black_box(output)));
    }
}
