//! A server that goes wrong as it is told, on plain threads.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What becomes of the next requests.
#[derive(Debug, Clone, PartialEq)]
pub enum Mode {
    /// 200 and this JSON.
    Right(&'static str),
    /// The same, after so many milliseconds.
    Slow(u64, &'static str),
    /// A byte now and then, for ever.
    Loris,
    /// The connection is reset before a byte of an answer.
    Reset,
    /// Less than was announced.
    Cut,
    /// A status line with headers, and an empty JSON object.
    Status(&'static str),
    /// 200 and JSON that ends too early.
    WrongJson,
    /// 10 MB, announced or not.
    Large { announced: bool },
    /// A page, of any status.
    Html(&'static str),
    /// 302 to this place.
    Redirect(String),
    /// Every second request fails with 500.
    Flapping(&'static str),
}

/// A right answer that went out whole; `404` for a key that is not there.
#[derive(Debug, Clone)]
pub struct Served {
    pub at: Instant,
    pub path: String,
    pub body: &'static str,
}

pub struct Server {
    pub address: SocketAddr,
    pub requests: Arc<AtomicUsize>,
    pub connections: Arc<AtomicUsize>,
    mode: Arc<Mutex<Mode>>,
    served: Arc<Mutex<Vec<Served>>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub fn start(mode: Mode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            requests: Arc::default(),
            connections: Arc::default(),
            mode: Arc::new(Mutex::new(mode)),
            served: Arc::default(),
            heads: Arc::default(),
        };
        let (requests, connections) =
            (Arc::clone(&server.requests), Arc::clone(&server.connections));
        let (mode, served) = (Arc::clone(&server.mode), Arc::clone(&server.served));
        let heads = Arc::clone(&server.heads);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { continue };
                connections.fetch_add(1, SeqCst);
                let (requests, mode) = (Arc::clone(&requests), Arc::clone(&mode));
                let (served, heads) = (Arc::clone(&served), Arc::clone(&heads));
                std::thread::spawn(move || {
                    let mut stream = stream;
                    // A client that goes away is none of the server's failures.
                    while answer(&mut stream, &mode, &requests, &served, &heads).is_some() {}
                });
            }
        });
        server
    }

    pub fn turn(&self, mode: Mode) {
        *self.mode.lock().unwrap() = mode;
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }

    pub fn served(&self) -> Vec<Served> {
        self.served.lock().unwrap().clone()
    }

    /// Request lines and headers, as they came.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn read_head(stream: &mut TcpStream) -> Option<String> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&head).into_owned())
}

/// Nothing when the connection is not used any more.
fn answer(
    stream: &mut TcpStream,
    mode: &Mutex<Mode>,
    requests: &AtomicUsize,
    served: &Mutex<Vec<Served>>,
    heads: &Mutex<Vec<String>>,
) -> Option<()> {
    let mut first = [0];
    if stream.peek(&mut first).ok()? == 0 {
        return None;
    }
    let now = mode.lock().unwrap().clone();
    if now == Mode::Reset {
        requests.fetch_add(1, SeqCst);
        // Closed with bytes unread, the connection is reset.
        return None;
    }
    let head = read_head(stream)?;
    let number = requests.fetch_add(1, SeqCst);
    let path = head.split(' ').nth(1)?.to_owned();
    heads.lock().unwrap().push(head);
    let right = |stream: &mut TcpStream, body: &'static str| {
        served.lock().unwrap().push(Served { at: Instant::now(), path: path.clone(), body });
        reply(stream, "200 OK", "application/json", body.as_bytes())
    };
    match now {
        Mode::Right(body) => right(stream, body),
        Mode::Slow(milliseconds, body) => {
            std::thread::sleep(Duration::from_millis(milliseconds));
            right(stream, body)
        }
        Mode::Flapping(body) if number % 2 == 1 => right(stream, body),
        Mode::Flapping(_) => reply(stream, "500 Broken", "application/json", b"{}"),
        Mode::Loris => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                        Content-Length: 1000\r\n\r\n";
            stream.write_all(head.as_bytes()).ok()?;
            loop {
                stream.write_all(b" ").ok()?;
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        Mode::Reset => None,
        Mode::Cut => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                        Content-Length: 1000\r\n\r\n{\"live\":false}";
            stream.write_all(head.as_bytes()).ok()?;
            None
        }
        Mode::Status(line) => {
            if line.starts_with("404") {
                let at = Instant::now();
                served.lock().unwrap().push(Served { at, path: path.clone(), body: "404" });
            }
            reply(stream, line, "application/json", b"{}")
        }
        Mode::WrongJson => reply(stream, "200 OK", "application/json", b"{\"live\": fal"),
        Mode::Html(line) => reply(stream, line, "text/html", b"<html>{\"live\":false}</html>"),
        Mode::Redirect(to) => {
            let line = format!("302 Found\r\nLocation: {to}");
            reply(stream, &line, "application/json", b"{\"live\":false}")
        }
        Mode::Large { announced: true } => {
            reply(stream, "200 OK", "application/json", &vec![b' '; 10_000_000])
        }
        Mode::Large { announced: false } => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
                        Connection: close\r\n\r\n";
            stream.write_all(head.as_bytes()).ok()?;
            stream.write_all(&vec![b' '; 10_000_000]).ok()?;
            None
        }
    }
}

fn reply(stream: &mut TcpStream, line: &str, kind: &str, body: &[u8]) -> Option<()> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {line}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), body].concat()).ok()
}
