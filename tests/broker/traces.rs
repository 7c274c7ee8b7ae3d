//! One trace for each alert, from its detector's headers to what its ruling leads to; and a stream
//! that does not care whether anybody takes the spans.

mod collector;
mod lookups;

use std::collections::BTreeSet;

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use tipstaff::ingest::LogReader;

use self::collector::{Collector, attribute, hex};
use crate::kafka::{Kafka, free_ports};
use crate::product::{GITLEAKS, PATIENCE, Site, drains, finding, findings, says};
use crate::rig::wait_until;
use crate::webhook::client::bearer;
use crate::webhook::section;
use crate::{seats, settings};

const SAMPLED: &str = "0af7651916cd43dd8448eb211c80319c";
const UNSAMPLED: &str = "1bf7651916cd43dd8448eb211c80319c";
const DELIVERED: &str = "2cf7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
const MALFORMED: &str = "00-not-a-trace-01";
const STATE: &str = "vendor=opaque";
const TOKEN: &str = "Bearer notareal-collector-token";
const SECRET: &str = "notareal-secret-of-today";

type Pairs<'p> = Vec<(&'p str, &'p str)>;

fn traceparent(trace: &str, flags: &str) -> String {
    format!("00-{trace}-{PARENT}-{flags}")
}

/// Each message with its headers, all to one partition.
fn publish_with(site: &Site, messages: &[(Vec<u8>, Pairs<'_>)]) {
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", &site.bootstrap).create().unwrap();
    let topic = site.detector(GITLEAKS);
    for (value, headers) in messages {
        let headers = headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
            all.insert(Header { key, value: Some(*value) })
        });
        let record = BaseRecord::<str, [u8]>::to(&topic).partition(0).payload(value);
        producer.send(record.headers(headers)).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// The headers of each message of a topic.
fn headers(site: &Site, topic: &str) -> Vec<Vec<(String, String)>> {
    let log = LogReader::connect(&settings(&site.bootstrap), "headers").unwrap();
    let topic = site.topic(topic);
    let mut found = Vec::new();
    for partition in 0..log.partitions(&topic).unwrap().unwrap_or(0) {
        let range = log.low(&topic, partition).unwrap()..log.stable(&topic, partition).unwrap();
        log.read(&topic, partition, range, |message| {
            let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
            let pairs = message.headers.iter().map(|(name, value)| (name.to_owned(), text(value)));
            found.push(pairs.collect());
        })
        .unwrap();
    }
    found
}

/// The one span of this name in a trace.
fn span<'s>(spans: &'s [Span], trace: &str, name: &str) -> &'s Span {
    let is_it = |span: &&Span| hex(&span.trace_id) == trace && span.name == name;
    let found: Vec<&Span> = spans.iter().filter(is_it).collect();
    assert_eq!(found.len(), 1, "`{name}` of {trace} in {spans:#?}");
    found[0]
}

fn of(span: &Span, name: &str) -> String {
    attribute(&span.attributes, name).unwrap_or_else(|| panic!("no {name}: {span:#?}"))
}

/// That one batch of this name names the span among its alerts, and the span names the batch.
fn is_linked(spans: &[Span], batch: &str, span: &Span) {
    let links = |from: &Span, to: &Span| {
        from.links.iter().any(|link| link.trace_id == to.trace_id && link.span_id == to.span_id)
    };
    let batches = spans.iter().filter(|each| each.name == batch);
    let linked: Vec<&Span> = batches.filter(|batch| links(batch, span)).collect();
    assert_eq!(linked.len(), 1, "{batch} of {span:#?} in {spans:#?}");
    assert!(links(span, linked[0]), "{span:#?}");
}

#[test]
fn a_trace_goes_from_the_detector_to_the_case() {
    let Some((_beside, bootstrap)) = seats::shared() else { return };
    let collector = Collector::start();
    let site = Site::beside_others(&bootstrap, "traced");
    site.create("");
    let (hook, webhooks) = section(&site, ["bearer", "bearer", "bearer"], "");
    std::fs::write(site.deployment.directory.join("token"), TOKEN).unwrap();
    let more = format!(
        "{webhooks}traces: {{endpoint: \"http://127.0.0.1:{}\", sample: 1, \
         headers: {{authorization: {{file: ../token}}}}}}\n",
        collector.port
    );
    let mut process = site.ready("p1", "intake,triage", &more);
    let (sampled, unsampled) = (traceparent(SAMPLED, "01"), traceparent(UNSAMPLED, "00"));
    let messages = [
        (finding(1), vec![("traceparent", sampled.as_str()), ("tracestate", STATE)]),
        (finding(2), vec![("traceparent", &unsampled), ("tracestate", STATE)]),
        (finding(3), vec![("traceparent", MALFORMED), ("tracestate", STATE)]),
        (finding(4), Vec::new()),
    ];
    publish_with(&site, &messages);
    let mut delivery = bearer(SECRET);
    delivery.push(("traceparent".to_owned(), traceparent(DELIVERED, "01")));
    assert_eq!(hook.post("gitleaks", &delivery, &finding(5)).status, 202);
    site.rulings(5, &process);
    let counted = "tipstaff_spans_total{result=\"exported\"}";
    let is_told = || process.get("/metrics").is_some_and(|(_, page)| page.contains(counted));
    assert!(wait_until(PATIENCE, is_told), "{counted}");
    drains(&mut process);
    assert!(!process.log().contains("notareal"), "{}", process.log());

    let spans = collector.spans();
    a_detectors_trace_goes_on(&site, &spans);
    one_that_is_not_sampled_is_only_passed_on(&site, &spans);
    a_deliverys_trace_goes_on(&site, &spans);
    others_begin_one(&site, &spans);
    what_is_sent_is_bounded(&collector);
}

fn a_detectors_trace_goes_on(site: &Site, spans: &[Span]) {
    let created = span(spans, SAMPLED, "create traced.alerts");
    assert_eq!(
        (hex(&created.parent_span_id).as_str(), created.kind()),
        (PARENT, SpanKind::Producer)
    );
    let ruled = span(spans, SAMPLED, "rule alert");
    assert_eq!((&ruled.parent_span_id, ruled.kind()), (&created.span_id, SpanKind::Consumer));
    assert_eq!((created.trace_state.as_str(), ruled.trace_state.as_str()), (STATE, STATE));
    for (name, value) in [
        ("messaging.system.name", "kafka"),
        ("messaging.operation.type", "process"),
        ("messaging.destination.name", "traced.alerts"),
        ("tipstaff.ruling", "route"),
        ("tipstaff.playbook", "exposed-key"),
    ] {
        assert_eq!(of(ruled, name), value, "{name}");
    }
    for name in
        ["tipstaff.rule", "tipstaff.reason", "kafka.offset", "messaging.destination.partition.id"]
    {
        of(ruled, name);
    }
    is_linked(spans, "send traced.alerts", created);
    is_linked(spans, "process traced.alerts", ruled);
    let batch = spans.iter().find(|span| span.name == "process traced.alerts").unwrap();
    of(batch, "tipstaff.lookup_ms");
    of(batch, "messaging.batch.message_count");

    let expected = |span: &Span| {
        let parent = format!("00-{SAMPLED}-{}-01", hex(&span.span_id));
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        vec![pair("traceparent", &parent), pair("tracestate", STATE)]
    };
    let has = |topic: &str, span: &Span| headers(site, topic).contains(&expected(span));
    assert!(has("alerts", created), "{:#?}", headers(site, "alerts"));
    let rulings = site.records("ruling").into_iter();
    let queues: BTreeSet<String> = rulings
        .filter_map(|ruling| Some(ruling["ruling"]["fate"]["route"]["queue"].as_str()?.to_owned()))
        .collect();
    let is_there = queues.iter().any(|queue| has(&format!("cases.{queue}"), ruled));
    assert!(is_there, "no case of {SAMPLED}: {queues:?}");
    assert!(has("findings", ruled), "{:#?}", headers(site, "findings"));
    assert!(headers(site, "decisions").iter().all(Vec::is_empty));
}

fn one_that_is_not_sampled_is_only_passed_on(site: &Site, spans: &[Span]) {
    assert!(!spans.iter().any(|span| hex(&span.trace_id) == UNSAMPLED), "{spans:#?}");
    for topic in ["alerts", "findings"] {
        let parents = headers(site, topic).concat();
        let own: Vec<_> = parents.iter().filter(|(_, value)| value.contains(UNSAMPLED)).collect();
        let as_it_came = ("traceparent".to_owned(), traceparent(UNSAMPLED, "00"));
        assert_eq!(own, [&as_it_came], "{topic}");
    }
}

fn a_deliverys_trace_goes_on(site: &Site, spans: &[Span]) {
    let served = span(spans, DELIVERED, "POST /v1/alerts/{pipeline}");
    assert_eq!((hex(&served.parent_span_id).as_str(), served.kind()), (PARENT, SpanKind::Server));
    assert_eq!(of(served, "http.response.status_code"), "202");
    let created = span(spans, DELIVERED, "create traced.alerts");
    assert_eq!(created.parent_span_id, served.span_id);
    let ruled = span(spans, DELIVERED, "rule alert");
    assert_eq!(ruled.parent_span_id, created.span_id);
    let parent = format!("00-{DELIVERED}-{}-01", hex(&ruled.span_id));
    let found = headers(site, "findings").concat();
    assert!(found.contains(&("traceparent".to_owned(), parent)), "{found:#?}");
}

/// Of a malformed header nothing is left.
fn others_begin_one(site: &Site, spans: &[Span]) {
    let known = [SAMPLED, UNSAMPLED, DELIVERED];
    let ruled = spans.iter().filter(|span| span.name == "rule alert");
    let fresh: Vec<&Span> =
        ruled.filter(|span| !known.contains(&hex(&span.trace_id).as_str())).collect();
    assert_eq!(fresh.len(), 2, "{spans:#?}");
    for ruled in fresh {
        let created = span(spans, &hex(&ruled.trace_id), "create traced.alerts");
        assert!(created.parent_span_id.is_empty() && created.trace_state.is_empty());
        assert_eq!(ruled.parent_span_id, created.span_id);
    }
    for topic in ["alerts", "findings"] {
        let all = headers(site, topic);
        assert_eq!(all.len(), 5, "{topic}");
        assert!(!all.concat().iter().any(|(_, value)| value == MALFORMED), "{topic}: {all:#?}");
    }
}

/// Credentials go in the head, and nothing that an alert says goes at all.
fn what_is_sent_is_bounded(collector: &Collector) {
    let exports = collector.exports();
    for export in &exports {
        assert!(export.head.starts_with("post /v1/traces http/1.1\r\n"), "{}", export.head);
        let token = format!("authorization: {}\r\n", TOKEN.to_lowercase());
        assert!(export.head.contains(&token), "{}", export.head);
        let resource = export.request.resource_spans[0].resource.as_ref().unwrap();
        let name = attribute(&resource.attributes, "service.name");
        let instance = attribute(&resource.attributes, "service.instance.id");
        assert_eq!((name.as_deref(), instance.as_deref()), (Some("tipstaff"), Some("traced-p1")));
    }
    let shown = format!("{:?}", collector.spans());
    for word in ["notareal", "example.com", "generic-api-key", "fp:"] {
        assert!(!shown.contains(word), "{word} in {shown}");
    }
}

pub fn without_a_collector() {
    let Some(kafka) = Kafka::start(&[]) else { return };
    let site = Site::new(&kafka.bootstrap(), "untraced", 2);
    site.create("");
    let silent = Collector::silent();
    let traces =
        |port: u16| format!("traces: {{endpoint: \"http://127.0.0.1:{port}\", sample: 1}}\n");
    let mut process = site.ready("p1", "intake,triage", &traces(silent.port));
    let is_counted = |result: &str| {
        let line = format!("tipstaff_spans_total{{result=\"{result}\"}} ");
        process.get("/metrics").is_some_and(|(_, page)| page.contains(&line))
    };
    let mut sent = 0;
    // A slow machine makes spans no faster than they fail, and drops none.
    while sent == 0 || (!is_counted("dropped") && sent < 20_000) {
        site.publish(&findings(0, sent..sent + 4000));
        sent += 4000;
        site.rulings(sent, &process);
    }
    says(&process, &["spans could not be sent to", "and are lost"]);
    for result in ["dropped", "failed"] {
        assert!(is_counted(result), "no span is {result}: {}", process.log());
    }
    drains(&mut process);
    let told = process.log().matches("and are lost").count();
    assert_eq!(told, 1, "{}", process.log());

    let mut process = site.ready("p2", "intake,triage", &traces(free_ports(1)[0]));
    site.publish(&findings(1, sent..sent + 50));
    site.rulings(sent + 50, &process);
    drains(&mut process);
}
