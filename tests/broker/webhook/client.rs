//! Senders, as their documentation has them.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use crate::planted::base64;

pub type Headers = Vec<(String, String)>;

/// An answer; its body is JSON or nothing.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Value,
}

pub struct Hook(pub u16);

impl Hook {
    pub fn post(&self, pipeline: &str, headers: &Headers, body: &[u8]) -> Reply {
        self.try_post(pipeline, headers, body).expect("an answer")
    }

    /// Nothing when the connection ends without an answer.
    pub fn try_post(&self, pipeline: &str, headers: &Headers, body: &[u8]) -> Option<Reply> {
        let length = ("Content-Length".to_owned(), body.len().to_string());
        let headers = [headers.as_slice(), &[length]].concat();
        self.ask("POST", pipeline, &headers, body)
    }

    /// Without saying how long the body is.
    pub fn post_in_chunks(&self, pipeline: &str, headers: &Headers, body: &[u8]) -> Reply {
        let chunked = ("Transfer-Encoding".to_owned(), "chunked".to_owned());
        let headers = [headers.as_slice(), &[chunked]].concat();
        let mut sent = Vec::new();
        for chunk in body.chunks(64 * 1024).chain([&[][..]]) {
            write!(sent, "{:x}\r\n", chunk.len()).unwrap();
            sent.extend_from_slice(chunk);
            sent.extend_from_slice(b"\r\n");
        }
        self.ask("POST", pipeline, &headers, &sent).expect("an answer")
    }

    pub fn get(&self, pipeline: &str, headers: &Headers) -> Reply {
        self.ask("GET", pipeline, headers, b"").expect("an answer")
    }

    /// Sends all but the end of a body.
    pub fn begin(&self, pipeline: &str, headers: &Headers, body: &[u8]) -> Begun {
        let (first, rest) = body.split_at(body.len() - 5);
        let length = ("Content-Length".to_owned(), body.len().to_string());
        let headers = [headers.as_slice(), &[length]].concat();
        let stream = self.send("POST", &alerts(pipeline), &headers, first).expect("a connection");
        Begun { stream, rest: rest.to_vec() }
    }

    fn ask(&self, method: &str, pipeline: &str, headers: &Headers, body: &[u8]) -> Option<Reply> {
        self.send(method, &alerts(pipeline), headers, body).and_then(answer)
    }

    /// To where a sink's users are heard.
    pub fn call_back(&self, sink: &str, headers: &Headers, body: &[u8]) -> Reply {
        let length = ("Content-Length".to_owned(), body.len().to_string());
        let headers = [headers.as_slice(), &[length]].concat();
        let sent = self.send("POST", &format!("/v1/callbacks/{sink}"), &headers, body);
        sent.and_then(answer).expect("an answer")
    }

    fn send(&self, method: &str, path: &str, headers: &Headers, body: &[u8]) -> Option<TcpStream> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.0)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: h\r\n");
        head += "Connection: close\r\n";
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        stream.write_all(format!("{head}\r\n").as_bytes()).ok()?;
        // A refused body is not read to its end.
        stream.write_all(body).ok();
        Some(stream)
    }
}

fn alerts(pipeline: &str) -> String {
    format!("/v1/alerts/{pipeline}")
}

/// A request whose body is still on its way.
pub struct Begun {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl Begun {
    pub fn finish(mut self) -> Option<Reply> {
        self.stream.write_all(&self.rest).ok()?;
        answer(self.stream)
    }

    /// Sends nothing more, and says nothing of that.
    pub fn stall(self) -> Option<Reply> {
        answer(self.stream)
    }

    pub fn give_up(self) -> Option<Reply> {
        self.stream.shutdown(Shutdown::Write).ok()?;
        answer(self.stream)
    }
}

fn answer(mut stream: TcpStream) -> Option<Reply> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let body = serde_json::from_str(body).unwrap_or_default();
    Some(Reply { status, head: head.to_ascii_lowercase(), body })
}

fn headers(pairs: &[(&str, &str)]) -> Headers {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn mac(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Now and so many seconds.
pub fn seconds(later: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    (i64::try_from(now).unwrap() + later).to_string()
}

pub fn github(secret: &str, id: &str, body: &[u8]) -> Headers {
    let signature = format!("sha256={}", hex(&mac(secret.as_bytes(), body)));
    headers(&[("X-Hub-Signature-256", &signature), ("X-GitHub-Delivery", id)])
}

pub fn gitguardian(secret: &str, time: &str, body: &[u8]) -> Headers {
    let signature = format!("sha256={}", hex(&mac(format!("{time}{secret}").as_bytes(), body)));
    headers(&[("Gitguardian-Signature", &signature), ("Timestamp", time)])
}

pub fn slack(secret: &str, time: &str, body: &[u8]) -> Headers {
    let signed = [format!("v0:{time}:").as_bytes(), body].concat();
    let signature = format!("v0={}", hex(&mac(secret.as_bytes(), &signed)));
    headers(&[("X-Slack-Signature", &signature), ("X-Slack-Request-Timestamp", time)])
}

pub fn standard(key: &str, id: &str, time: &str, body: &[u8]) -> Headers {
    let signed = [format!("{id}.{time}.").as_bytes(), body].concat();
    let signature = format!("v1,{}", base64(&mac(key.as_bytes(), &signed)));
    headers(&[("webhook-id", id), ("webhook-timestamp", time), ("webhook-signature", &signature)])
}

pub fn shown(name: &str, secret: &str) -> Headers {
    headers(&[(name, secret)])
}

pub fn bearer(secret: &str) -> Headers {
    shown("Authorization", &format!("Bearer {secret}"))
}

pub fn basic(secret: &str) -> Headers {
    shown("Authorization", &format!("Basic {}", base64(secret.as_bytes())))
}

pub fn encoded(key: &str) -> String {
    format!("whsec_{}", base64(key.as_bytes()))
}
