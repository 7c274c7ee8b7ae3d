//! What a lookup asks of another system belongs to its batch. No broker is needed.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tipstaff::case::{FactState, Value};
use tipstaff::config::{CacheConfig, ServiceConfig};
use tipstaff::enrich::{BoxFuture, Cached, Changes, Found, Lookup, Remote, Sourced};
use tipstaff::observe::{Metrics, Traces, Work};
use tipstaff::service::{Call, Failure, Service};
use tipstaff::text::{Problems, Source};

use super::collector::{Collector, attribute, hex};

struct Asks(Service);

impl Remote for Asks {
    fn fetch<'r>(&'r self, key: &'r str) -> BoxFuture<'r, Result<Found, Failure>> {
        Box::pin(async move {
            let (method, path) = (reqwest::Method::GET, format!("/{key}"));
            let call = Call { method, path, headers: Vec::new(), body: None };
            self.0.send(call).await.map(|_| Found::Known(Vec::<Value>::new()))
        })
    }
}

/// Answers every request with an empty object, but `/denied`; hands on what stood in its head.
fn server() -> (u16, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heads, received) = channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while !head.ends_with("\r\n\r\n") {
                reader.read_line(&mut head).unwrap();
            }
            let status = if head.starts_with("GET /denied ") { "403 Forbidden" } else { "200 OK" };
            heads.send(head).unwrap();
            let fields = "Content-Type: application/json\r\nContent-Length: 2\r\nConnection: close";
            write!(stream, "HTTP/1.1 {status}\r\n{fields}\r\n\r\n{{}}").unwrap();
        }
    });
    (port, received)
}

fn config(server: u16, collector: u16) -> ServiceConfig {
    let text = format!(
        "kafka: {{bootstrap.servers: k:1}}\nfingerprint: {{id: k, key: {{env: K}}}}\n\
         services:\n  cmdb: {{url: \"http://127.0.0.1:{server}\", allow: [127.0.0.0/8]}}\n\
         traces: {{endpoint: \"http://127.0.0.1:{collector}\", sample: 1}}\n"
    );
    let mut problems = Problems::default();
    let read = ServiceConfig::read(&Source::new("tipstaff.yaml", text), &mut problems);
    read.unwrap_or_else(|| panic!("{:?}", problems.into_sorted()))
}

#[test]
fn a_lookup_belongs_to_its_batch_and_says_so_to_whom_it_asks() {
    let (collector, (port, heads)) = (Collector::start(), server());
    let config = config(port, collector.port);
    let metrics = Metrics::new().unwrap();
    let traced = config.traces.as_ref().unwrap();
    let traces = Traces::start(traced, &BTreeMap::new(), "t1", &metrics).unwrap();
    let mut problems = Problems::default();
    let mut secrets = config.resolve_services(&|_| Err(String::new()), &mut problems);
    let secrets = secrets.remove("cmdb").unwrap();
    let service = Service::new(&config.services[0], secrets, &metrics.lookups).unwrap();
    let rows = Sourced {
        enricher: "owner".into(),
        source: "http:cmdb".into(),
        version: "1".into(),
        provides: Vec::new(),
    };
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(1).enable_all().build().unwrap();
    let own = metrics.lookups.cache("owner", "cmdb");
    let shared = (runtime.handle().clone(), Changes::default(), own);
    let cached = Cached::new(rows, CacheConfig::default(), Asks(service), shared);
    let ask = |key: &str| {
        let row = cached.ask(&[key])[0].by(Instant::now() + Duration::from_secs(10));
        (row.state, heads.recv_timeout(Duration::from_secs(10)).unwrap().to_lowercase())
    };

    let (state, head) = ask("untraced");
    assert!(state == FactState::Known && !head.contains("traceparent"), "{state:?} {head}");
    let none = [std::iter::empty()];
    let batch = traces.batch(Work::Triage, "t.alerts", none.into_iter());
    let within = batch.enter();
    let (state, head) = ask("known");
    let (refused, _) = ask("denied");
    drop((within, batch));
    assert!(state == FactState::Known && matches!(refused, FactState::Unknown(_)));
    // Its span ends when the answer is there for all, which may be a moment later.
    std::thread::sleep(Duration::from_millis(100));
    traces.end(Duration::from_secs(10)).unwrap();

    let spans = collector.spans();
    let of = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let (batches, lookups) = (of("process t.alerts"), of("lookup owner"));
    assert_eq!((batches.len(), lookups.len()), (1, 2), "{spans:#?}");
    for lookup in &lookups {
        assert_eq!(lookup.trace_id, batches[0].trace_id);
        assert_eq!(lookup.parent_span_id, batches[0].span_id);
        let source = attribute(&lookup.attributes, "tipstaff.source");
        assert_eq!(source.as_deref(), Some("http:cmdb"));
    }
    let parent = |span: &&&_| {
        let span: &opentelemetry_proto::tonic::trace::v1::Span = span;
        let parent = format!("00-{}-{}-01", hex(&span.trace_id), hex(&span.span_id));
        head.contains(&format!("traceparent: {parent}\r\n"))
    };
    assert_eq!(lookups.iter().filter(parent).count(), 1, "{head}");
    let faults: Vec<_> =
        lookups.iter().filter_map(|span| attribute(&span.attributes, "error.type")).collect();
    assert_eq!(faults, ["denied"]);
    let shown = format!("{spans:?}");
    assert!(!shown.contains("known") && !shown.contains("/denied"), "{shown}");
}
