//! One system asked: what is sent, where to, and how it is spared.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::Method;
use tipstaff::observe::Metrics;
use tipstaff::service::{Call, Failure, Fault, Reply, Service};

use crate::rig::{QUICK, Rig, pause, service, state};
use crate::server::{Mode, Server};

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(work)
}

fn get(path: &str) -> Call {
    Call { method: Method::GET, path: path.to_owned(), headers: Vec::new(), body: None }
}

fn asked(service: &Service, path: &str) -> Result<Reply, Failure> {
    run(service.send(get(path)))
}

fn fault(service: &Service, path: &str) -> Fault {
    asked(service, path).expect_err("a failure").fault
}

const RIGHT: Mode = Mode::Right("{\"live\":true}");

#[test]
fn credentials_go_with_every_request_and_into_no_message() {
    let server = Server::start(RIGHT);
    let metrics = Metrics::new().unwrap();
    let text = format!(
        "url: \"{}/v1/\", allow: [127.0.0.1], bearer: {{env: TOKEN}}, \
         headers: {{X-Vault-Namespace: team-a, X-Vault-Token: {{file: token}}}}",
        server.url()
    );
    let token = service(&text, &metrics);
    let mut call = get("/a?b=c");
    call.headers = vec![
        ("Authorization".to_owned(), "mine".to_owned()),
        ("X-Mine".to_owned(), "1".to_owned()),
    ];
    run(token.send(call)).unwrap();
    let head = server.heads().remove(0).to_ascii_lowercase();
    for line in [
        "get /v1/a?b=c http/1.1\r\n",
        "authorization: bearer envtoken-hunter2\r\n",
        "x-vault-token: filetoken-hunter2\r\n",
        "x-vault-namespace: team-a\r\n",
        "x-mine: 1\r\n",
        "accept: application/json\r\n",
        "user-agent: tipstaff/",
    ] {
        assert!(head.contains(line), "{head}");
    }
    assert!(!head.contains("accept-encoding") && !head.contains("mine\r\n"), "{head}");
    for mode in [Mode::Status("500 Broken"), Mode::Status("401 No"), Mode::Html("200 OK")] {
        server.turn(mode);
        let told = asked(&token, "/a?secret=hunter2").unwrap_err().detail;
        assert!(!told.contains("hunter2"), "{told}");
    }
    let basic = format!(
        "url: \"{}\", allow: [127.0.0.1], basic: {{user: u, password: {{env: P}}}}",
        server.url()
    );
    server.turn(RIGHT);
    asked(&service(&basic, &metrics), "/").unwrap();
    let expected = format!("basic {}", openssl::base64::encode_block(b"u:EnvP-hunter2"));
    let head = server.heads().pop().unwrap();
    assert!(head.to_ascii_lowercase().contains(&expected.to_ascii_lowercase()), "{head}");
}

#[test]
fn no_path_leads_to_another_place() {
    let server = Server::start(RIGHT);
    let text = format!("url: \"{}/v1\", allow: [127.0.0.1]", server.url());
    let service = service(&text, &Metrics::new().unwrap());
    for path in [
        "",
        "a",
        "@127.0.0.2/",
        ":80/",
        "/../v2",
        "/a/../../b",
        "/%2e%2e/b",
        "/a#b",
        "/a b",
        "//x/../..",
        "/a\\..\\b",
        "/\r\nX: y",
    ] {
        assert_eq!(fault(&service, path), Fault::Malformed, "{path}");
    }
    assert_eq!(server.requests(), 0);
    for path in ["/a%2Fb", "/a?b=%20&c=../d", "/%C3%A9"] {
        asked(&service, path).unwrap_or_else(|failure| panic!("{path}: {failure:?}"));
    }
}

/// A name of this machine that a resolver turns into loopback addresses.
#[test]
fn a_name_is_as_good_as_the_addresses_it_has() {
    let server = Server::start(RIGHT);
    let port = server.address.port();
    let metrics = Metrics::new().unwrap();
    let at = |allow: &str| {
        service(&format!("url: \"http://localhost:{port}\", allow: [{allow}]"), &metrics)
    };
    let failure = asked(&at("10.0.0.0/8"), "/").unwrap_err();
    assert_eq!(failure.fault, Fault::Address, "{}", failure.detail);
    let secure = service(&format!("url: \"https://localhost:{port}\""), &metrics);
    assert_eq!(fault(&secure, "/"), Fault::Address);
    assert_eq!(server.connections.load(std::sync::atomic::Ordering::SeqCst), 0);
    // Where `localhost` is ::1 too, that address is left out and this one is taken.
    assert_eq!(asked(&at("127.0.0.0/8"), "/").unwrap().status, 200);
}

#[test]
fn a_redirect_is_followed_nowhere() {
    let witness = Server::start(RIGHT);
    let server = Server::start(Mode::Redirect(format!("{}/stolen", witness.url())));
    let text = format!("url: \"{}\", allow: [127.0.0.1]", server.url());
    let service = service(&text, &Metrics::new().unwrap());
    assert_eq!(fault(&service, "/"), Fault::Redirect);
    server.turn(Mode::Redirect("http://169.254.169.254/latest/meta-data/".to_owned()));
    assert_eq!(fault(&service, "/"), Fault::Redirect);
    assert_eq!((witness.requests(), server.requests()), (0, 2));
}

#[test]
fn an_outage_is_not_multiplied_and_the_breaker_says_when_it_opens_again() {
    let server = Server::start(Mode::Status("503 Down"));
    let text = format!(
        "url: \"{}\", allow: [127.0.0.1], \
         limits: {{retries: 2, breaker: {{failures: 5, open_for: 400ms}}}}",
        server.url()
    );
    let metrics = Metrics::new().unwrap();
    let service = service(&text, &metrics);
    let faults: Vec<Fault> = (0..20).map(|_| fault(&service, "/")).collect();
    assert_eq!(server.requests(), 5, "{faults:?}");
    assert_eq!(faults.last(), Some(&Fault::Open));
    let gauge = "tipstaff_lookup_breaker{service=\"probe\"} ";
    assert!(metrics.text().contains(&format!("{gauge}2")));
    let failure = asked(&service, "/").unwrap_err();
    assert!(
        failure.detail.contains("5 failures in a row; it is asked again at 20"),
        "{}",
        failure.detail
    );
    assert!(failure.retry_after.is_some_and(|left| left <= Duration::from_millis(400)));
    pause(450);
    assert_eq!(fault(&service, "/"), Fault::Server);
    assert_eq!((fault(&service, "/"), server.requests()), (Fault::Open, 6));
    server.turn(RIGHT);
    pause(450);
    assert!(asked(&service, "/").is_ok() && asked(&service, "/").is_ok());
    assert!(metrics.text().contains(&format!("{gauge}0")));
}

#[test]
fn what_failed_on_the_way_is_asked_again_and_what_was_answered_is_not() {
    let server = Server::start(Mode::Reset);
    let text = format!(
        "url: \"{}\", allow: [127.0.0.1], limits: {{retries: 1, breaker: {{failures: 99}}}}",
        server.url()
    );
    let service = service(&text, &Metrics::new().unwrap());
    for (mode, requests) in [
        (Mode::Reset, 2),
        (Mode::Cut, 2),
        (Mode::Status("502 Gone"), 2),
        (Mode::Status("500 Broken"), 1),
        (Mode::Status("401 No"), 1),
        (Mode::Html("200 OK"), 1),
    ] {
        server.turn(mode.clone());
        let before = server.requests();
        asked(&service, "/").unwrap_err();
        assert_eq!(server.requests() - before, requests, "{mode:?}");
    }
}

#[test]
fn a_service_that_asks_to_be_left_alone_is() {
    let server = Server::start(Mode::Status("429 Slow\r\nRetry-After: 2"));
    let text = format!("url: \"{}\", allow: [127.0.0.1]", server.url());
    let service = service(&text, &Metrics::new().unwrap());
    let first = asked(&service, "/").unwrap_err();
    assert_eq!((first.fault, first.retry_after), (Fault::Limited, Some(Duration::from_secs(2))));
    server.turn(RIGHT);
    let second = asked(&service, "/").unwrap_err();
    assert!(second.detail.contains("left alone until 20"), "{}", second.detail);
    assert_eq!((second.fault, server.requests()), (Fault::Limited, 1));
    pause(2050);
    assert!(asked(&service, "/").is_ok());
    server.turn(Mode::Status("429 Slow\r\nRetry-After: 1"));
    let before = server.requests();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            pause(500);
            server.turn(RIGHT);
        });
        assert!(asked(&service, "/").is_ok(), "a short pause is waited for");
    });
    assert_eq!(server.requests() - before, 2);
}

#[test]
fn no_more_at_once_and_no_more_in_a_second_than_its_limits_say() {
    let server = Server::start(Mode::Slow(100, "{\"live\":true}"));
    let text = format!(
        "url: \"{}\", allow: [127.0.0.1], limits: {{concurrency: 2, timeout: 350ms}}",
        server.url()
    );
    let metrics = Metrics::new().unwrap();
    let narrow = Arc::new(service(&text, &metrics));
    let results: Vec<_> = run(async {
        let begin = |_| {
            let narrow = Arc::clone(&narrow);
            tokio::spawn(async move { narrow.send(get("/")).await })
        };
        let mut results = Vec::new();
        for one in (0..20).map(begin).collect::<Vec<_>>() {
            results.push(one.await.unwrap());
        }
        results
    });
    let (worked, limited): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert!((4..=10).contains(&worked.len()), "{}", worked.len());
    assert!(limited.iter().all(|each| each.as_ref().unwrap_err().fault == Fault::Limited));
    server.turn(RIGHT);
    let text = format!(
        "url: \"{}\", allow: [127.0.0.1], limits: {{rate: 10/s, timeout: 300ms}}",
        server.url()
    );
    let (paced, began, before) = (service(&text, &metrics), Instant::now(), server.requests());
    while began.elapsed() < Duration::from_secs(2) {
        drop(asked(&paced, "/"));
    }
    let made = server.requests() - before;
    assert!((20..=34).contains(&made), "{made} in two seconds, after the first ten at once");
}

/// Nobody is asked, so nobody needs to listen.
#[test]
fn an_address_that_is_not_public_is_not_even_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let rig = Rig::new(&format!("url: \"https://localhost:{port}\""), QUICK);
    let row = rig.ask("a");
    assert_eq!(state(&row), "unknown(error) fetched");
    assert!(row.detail.as_ref().unwrap().contains("`allow` does not list it"), "{row:?}");
    pause(50);
    assert!(listener.accept().is_err(), "something connected");
}
