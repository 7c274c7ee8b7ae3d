use std::time::Duration;

use moka::future::Cache;
use openssl::x509::X509;
use reqwest::redirect::Policy;
use reqwest::{Client, ClientBuilder};
use thiserror::Error;

/// Asks Amazon SNS, at URLs that were checked, and keeps the certificates.
pub(super) struct Fetch {
    client: Client,
    certificates: Cache<String, X509>,
}

/// The sender has to send it again. Says nothing of the URL, which may hold a token.
#[derive(Debug, Error)]
#[error("{0}")]
pub(super) struct Unreached(String);

/// Amazon SNS itself gives up after 15 s.
const WAIT: Duration = Duration::from_secs(3);
/// Ten times a certificate, or what a confirmation answers.
const BYTES_MAX: usize = 32 * 1024;
/// A region has one at a time.
const CERTIFICATES_MAX: u64 = 32;
const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(24 * 3600);

impl Fetch {
    /// Errors: when the system's certificates can't be read.
    pub(super) fn new(builder: ClientBuilder) -> Result<Self, reqwest::Error> {
        let client = builder.https_only(true).redirect(Policy::none()).timeout(WAIT).build()?;
        let certificates = Cache::builder()
            .max_capacity(CERTIFICATES_MAX)
            .time_to_live(CERTIFICATE_LIFETIME)
            .build();
        Ok(Self { client, certificates })
    }

    /// Those who ask at the same time share one request; a failure is not kept.
    pub(super) async fn certificate(&self, url: &str) -> Result<X509, Unreached> {
        let fetched = async {
            let pem = self.get(url).await?;
            X509::from_pem(&pem).map_err(|_| Unreached("no certificate is there".to_owned()))
        };
        let shared = self.certificates.try_get_with_by_ref(url, fetched).await;
        shared.map_err(|error| Unreached(error.0.clone()))
    }

    /// The body of an answer that is a success.
    pub(super) async fn get(&self, url: &str) -> Result<Vec<u8>, Unreached> {
        let failed = |error: reqwest::Error| Unreached(chain(&error.without_url()));
        let mut response = self.client.get(url).send().await.map_err(failed)?;
        if !response.status().is_success() {
            return Err(Unreached(format!("the answer was {}", response.status())));
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            body.extend_from_slice(&chunk);
            if body.len() > BYTES_MAX {
                return Err(Unreached(format!("the answer has more than {BYTES_MAX} bytes")));
            }
        }
        Ok(body)
    }
}

/// An error of the client names its cause only inside.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::time::Instant;

    use openssl::asn1::Asn1Time;
    use openssl::hash::MessageDigest;
    use openssl::pkey::PKey;
    use openssl::rsa::Rsa;
    use openssl::ssl::{SslAcceptor, SslMethod, SslStream};
    use openssl::x509::extension::SubjectAlternativeName;
    use reqwest::Certificate;

    use super::*;

    /// An HTTPS server on this machine; `path` gives an answer, or takes its time.
    struct Server {
        url: String,
        pem: Vec<u8>,
        asked: Arc<AtomicUsize>,
    }

    impl Server {
        fn start() -> Self {
            let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
            let mut builder = X509::builder().unwrap();
            builder.set_version(2).unwrap();
            builder.set_not_before(&Asn1Time::from_unix(0).unwrap()).unwrap();
            builder.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
            builder.set_pubkey(&key).unwrap();
            let mut names = SubjectAlternativeName::new();
            let names = names.ip("127.0.0.1").build(&builder.x509v3_context(None, None)).unwrap();
            builder.append_extension(names).unwrap();
            builder.sign(&key, MessageDigest::sha256()).unwrap();
            let certificate = builder.build();
            let mut acceptor = SslAcceptor::mozilla_intermediate(SslMethod::tls()).unwrap();
            acceptor.set_private_key(&key).unwrap();
            acceptor.set_certificate(&certificate).unwrap();
            let acceptor = acceptor.build();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let url = format!("https://{}", listener.local_addr().unwrap());
            let (asked, pem) = (Arc::new(AtomicUsize::new(0)), certificate.to_pem().unwrap());
            let (counted, body, own) = (Arc::clone(&asked), pem.clone(), url.clone());
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let Ok(stream) = acceptor.accept(stream.unwrap()) else { continue };
                    counted.fetch_add(1, SeqCst);
                    let (body, own) = (body.clone(), own.clone());
                    std::thread::spawn(move || answer(stream, &body, &own));
                }
            });
            Self { url, pem, asked }
        }

        fn fetch(&self) -> Fetch {
            let root = Certificate::from_pem(&self.pem).unwrap();
            Fetch::new(Client::builder().no_proxy().tls_certs_merge([root])).unwrap()
        }

        fn at(&self, path: &str) -> String {
            format!("{}/{path}", self.url)
        }
    }

    fn answer(mut stream: SslStream<std::net::TcpStream>, pem: &[u8], own: &str) -> Option<()> {
        let mut request = [0; 1024];
        let length = stream.read(&mut request).ok()?;
        let request = String::from_utf8_lossy(&request[..length]).into_owned();
        let path = request.split(' ').nth(1)?;
        std::thread::sleep(Duration::from_millis(if path == "/slow.pem" { 60_000 } else { 100 }));
        let head = match path {
            "/moved.pem" => format!("302 Found\r\nLocation: {own}/right.pem"),
            "/none.pem" => "404 Not Found".to_owned(),
            _ => "200 OK".to_owned(),
        };
        let body = match path {
            "/large.pem" => vec![b'\n'; BYTES_MAX + 1],
            "/text.pem" => b"<html>".to_vec(),
            "/trickle.pem" => Vec::new(),
            _ => pem.to_vec(),
        };
        stream
            .write_all(format!("HTTP/1.1 {head}\r\nConnection: close\r\n\r\n").as_bytes())
            .ok()?;
        if path == "/trickle.pem" {
            for _ in 0..100 {
                stream.write_all(b"\n").ok()?;
                std::thread::sleep(Duration::from_millis(200));
            }
        }
        stream.write_all(&body).ok()?;
        stream.shutdown().ok().map(drop)
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(work)
    }

    #[test]
    fn a_certificate_is_asked_for_once() {
        let server = Server::start();
        let (fetch, url) = (server.fetch(), server.at("right.pem"));
        run(async {
            let (one, two) = tokio::join!(fetch.certificate(&url), fetch.certificate(&url));
            let three = fetch.certificate(&url).await;
            for found in [one, two, three] {
                assert_eq!(found.unwrap().to_pem().unwrap(), server.pem);
            }
        });
        assert_eq!(server.asked.load(SeqCst), 1);
    }

    #[test]
    fn what_is_no_certificate_is_asked_for_again_and_its_url_is_not_told() {
        let server = Server::start();
        let fetch = server.fetch();
        let plain = server.at("right.pem").replace("https:", "http:");
        for (url, why) in [
            (server.at("none.pem"), "the answer was 404 Not Found"),
            (server.at("moved.pem"), "the answer was 302 Found"),
            (server.at("large.pem"), "the answer has more than 32768 bytes"),
            (server.at("text.pem"), "no certificate is there"),
            (plain, "builder error: URL scheme is not allowed"),
            ("https://127.0.0.1:1/x.pem".to_owned(), "error sending request: "),
        ] {
            let before = server.asked.load(SeqCst);
            for _ in 0..2 {
                let told = run(fetch.certificate(&url)).unwrap_err().to_string();
                assert!(told.starts_with(why) && !told.contains(".pem"), "{told}");
            }
            let is_there = url.starts_with(&server.url);
            assert_eq!(server.asked.load(SeqCst) - before, if is_there { 2 } else { 0 }, "{url}");
        }
    }

    #[test]
    fn nobody_is_waited_for_who_does_not_come_to_an_end() {
        let server = Server::start();
        let fetch = server.fetch();
        let (slow, trickle) = (server.at("slow.pem"), server.at("trickle.pem"));
        let began = Instant::now();
        let both =
            run(async { tokio::join!(fetch.certificate(&slow), fetch.certificate(&trickle)) });
        assert!(both.0.is_err() && both.1.is_err());
        assert!(began.elapsed() < WAIT * 2);
    }

    #[test]
    fn a_server_that_nobody_vouches_for_is_not_believed() {
        let server = Server::start();
        let fetch = Fetch::new(Client::builder().no_proxy()).unwrap();
        let told = run(fetch.certificate(&server.at("right.pem"))).unwrap_err().to_string();
        assert!(told.contains("certificate verify failed"), "{told}");
    }
}
