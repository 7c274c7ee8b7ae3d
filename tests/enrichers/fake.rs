//! A server that gives exactly the replies it was told to, each once, and holds against the client
//! whatever else it asks.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::recording::{Call, Shown};

#[derive(Default)]
struct Due {
    calls: Vec<Call>,
    wrong: Vec<String>,
}

pub struct Fake {
    pub url: String,
    due: Arc<Mutex<Due>>,
}

/// One request as it came; names of headers in small letters.
struct Asked {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Value>,
}

impl Fake {
    /// Every request must show `shown`.
    pub fn start(shown: &Shown) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let due: Arc<Mutex<Due>> = Arc::default();
        let own = (shown.header.to_ascii_lowercase(), shown.value.clone());
        let fake = Self { url: url.clone(), due: Arc::clone(&due) };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (due, own, url) = (Arc::clone(&due), own.clone(), url.clone());
                let mut reader = BufReader::new(stream.unwrap());
                std::thread::spawn(move || {
                    while let Some(asked) = read(&mut reader) {
                        let reply = reply(&asked, &own, &due, &url);
                        if reader.get_mut().write_all(reply.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        fake
    }

    pub fn expect(&self, calls: Vec<Call>) {
        self.due.lock().unwrap().calls = calls;
    }

    /// What was asked wrongly, and what was not asked.
    pub fn left(&self) -> Vec<String> {
        let mut due = self.due.lock().unwrap();
        let missing: Vec<String> =
            due.calls.drain(..).map(|call| format!("`{}` was not asked", call.name)).collect();
        due.wrong.drain(..).chain(missing).collect()
    }
}

/// Nothing when the connection is not used any more.
fn read(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let mut words = lines[0].split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let header = |line: &String| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers: Vec<(String, String)> = lines[1..].iter().filter_map(header).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, value)| value.parse().unwrap())];
    reader.read_exact(&mut body).ok()?;
    let body = (!body.is_empty()).then(|| serde_json::from_slice(&body).unwrap());
    Some(Asked { method, path, headers, body })
}

impl Asked {
    fn is(&self, call: &Call) -> bool {
        let wanted = &call.request;
        let has = |name: &String, value: &String| {
            let name = name.to_ascii_lowercase();
            self.headers.iter().any(|(each, given)| *each == name && given == value)
        };
        (&self.method, &self.path, &self.body) == (&wanted.method, &wanted.path, &wanted.body)
            && wanted.headers.iter().all(|(name, value)| has(name, value))
    }
}

fn reply(asked: &Asked, own: &(String, String), due: &Mutex<Due>, url: &str) -> String {
    let mut due = due.lock().unwrap();
    let found = due.calls.iter().position(|call| asked.is(call));
    let is_shown = asked.headers.contains(own);
    let Some(call) = found.filter(|_| is_shown).map(|index| due.calls.remove(index)) else {
        let (method, path, body) = (&asked.method, &asked.path, &asked.body);
        due.wrong.push(format!("{method} {path} {body:?} was asked; credentials: {is_shown}"));
        return "HTTP/1.1 599 Unexpected\r\ncontent-length: 0\r\n\r\n".to_owned();
    };
    let response = call.response;
    let json = response.body.map_or(String::new(), |body| format!("{body}\n"));
    let body = response.text.unwrap_or(json);
    let mut head = format!("HTTP/1.1 {} Recorded\r\n", response.status);
    let given = |name: &str| response.headers.keys().any(|each| each.eq_ignore_ascii_case(name));
    if !given("content-type") {
        head.push_str("content-type: application/json\r\n");
    }
    for (name, value) in &response.headers {
        head.push_str(&format!("{name}: {}\r\n", value.replace("{url}", url)));
    }
    format!("{head}content-length: {}\r\n\r\n{body}", body.len())
}
