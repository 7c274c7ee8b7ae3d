//! Whose word is taken for who somebody is.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use openssl::asn1::Asn1Time;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::ssl::{SslAcceptor, SslMethod};
use openssl::x509::X509;
use openssl::x509::extension::SubjectAlternativeName;
use reqwest::Method;
use tipstaff::config::SecretFrom;
use tipstaff::observe::Metrics;
use tipstaff::service::{Call, Failure, Fault, Reply, Service};
use tipstaff::text::Problems;

use crate::rig::read_services;

/// An HTTPS server on this machine that calls itself `localhost`.
struct Secure {
    port: u16,
    pem: String,
    asked: Arc<AtomicUsize>,
}

impl Secure {
    fn start() -> Self {
        let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        builder.set_not_before(&Asn1Time::from_unix(0).unwrap()).unwrap();
        builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
        builder.set_pubkey(&key).unwrap();
        let mut names = SubjectAlternativeName::new();
        let names = names.dns("localhost").build(&builder.x509v3_context(None, None)).unwrap();
        builder.append_extension(names).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        let certificate = builder.build();
        let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls()).unwrap();
        acceptor.set_private_key(&key).unwrap();
        acceptor.set_certificate(&certificate).unwrap();
        let acceptor = acceptor.build();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = acceptor.accept(stream.unwrap()) else { continue };
                let mut request = [0; 1024];
                if stream.read(&mut request).is_ok_and(|length| length > 0) {
                    counted.fetch_add(1, SeqCst);
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                                   Connection: close\r\nContent-Length: 2\r\n\r\n{}";
                    drop(stream.write_all(answer));
                    drop(stream.shutdown());
                }
            }
        });
        let pem = String::from_utf8(certificate.to_pem().unwrap()).unwrap();
        Self { port, pem, asked }
    }

    fn ask(&self, host: &str, ca: Option<&str>) -> Result<Reply, Failure> {
        let file = if ca.is_some() { ", ca: ca.pem" } else { "" };
        let text = format!(
            "url: \"https://{host}:{}\", allow: [127.0.0.0/8], limits: {{retries: 0}}{file}",
            self.port
        );
        let service = made(&text, ca.unwrap_or_default()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let call =
            Call { method: Method::GET, path: "/".to_owned(), headers: Vec::new(), body: None };
        runtime.block_on(service.send(call))
    }
}

fn made(text: &str, pem: &str) -> Result<Service, String> {
    let read = read_services(text);
    let kept = |_: &SecretFrom| Ok(pem.to_owned());
    let mut problems = Problems::default();
    let secrets = read.resolve_services(&kept, &mut problems).remove("probe").unwrap();
    Service::new(&read.services[0], secrets, &Metrics::new().unwrap().lookups)
}

#[test]
fn only_the_listed_certificates_are_believed_and_only_for_their_name() {
    let (server, other) = (Secure::start(), Secure::start());
    assert_eq!(server.ask("localhost", Some(&server.pem)).unwrap().status, 200);
    for (what, host, ca) in [
        ("nobody vouches for it", "localhost", None),
        ("somebody else does", "localhost", Some(other.pem.as_str())),
        ("it is called otherwise", "127.0.0.1", Some(server.pem.as_str())),
    ] {
        let failure = server.ask(host, ca).expect_err(what);
        assert_eq!(failure.fault, Fault::Connect, "{what}");
        assert!(failure.detail.contains("certificate verify failed"), "{what}: {}", failure.detail);
    }
    assert_eq!(server.asked.load(SeqCst), 1);
}

#[test]
fn a_file_without_a_certificate_starts_nothing() {
    let text = "url: \"https://vault.example.com\", ca: ca.pem";
    let told = |pem| made(text, pem).err().expect("a problem");
    assert_eq!(told("no certificate"), "`ca` holds no certificate");
    assert!(
        told("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
            .starts_with("`ca`: ")
    );
}
