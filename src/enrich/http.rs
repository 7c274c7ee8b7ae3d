use std::borrow::Cow;
use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value as Json, json};

use super::codeowners::owners;
use super::http_facts::{Told, value};
use super::key::JOINT;
use super::remote::{BoxFuture, Found, Remote};
use crate::case::Type;
use crate::config::{
    HttpCall, HttpConfig, Next, Pages, Piece, Read, ReplyPath, Template, Unlike, scalar,
};
use crate::service::{Call, Failure, Fault, Reply, Service};

/// A service as an enricher's file says to ask it.
pub struct HttpSource {
    config: HttpConfig,
    types: Vec<Type>,
    service: Arc<Service>,
}

/// Named parts of a key.
pub(super) type Parts<'k> = Vec<(&'k str, &'k str)>;
/// Nothing where an optional call found nothing.
pub(super) type Replies = Vec<Option<Json>>;

/// Where in a request a value goes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Into {
    Path,
    Query,
    Json,
}

/// Nothing when the service is not one to be asked by this key.
pub(super) fn parts_of<'k>(config: &'k HttpConfig, key: &'k str) -> Option<Parts<'k>> {
    let mut parts = Vec::new();
    let mut patterns = config.key.iter();
    for part in key.split(JOINT) {
        let pattern = &patterns.next()?.0;
        let found = pattern.captures(part)?;
        let names = pattern.capture_names().flatten();
        parts.extend(names.filter_map(|name| Some((name, found.name(name)?.as_str()))));
    }
    patterns.next().is_none().then_some(parts)
}

impl HttpSource {
    pub fn new(config: HttpConfig, provides: &[(String, Type)], service: Arc<Service>) -> Self {
        Self { config, types: provides.iter().map(|(_, of)| *of).collect(), service }
    }

    async fn ask(&self, key: &str) -> Result<Found, Failure> {
        let Some(parts) = parts_of(&self.config, key) else {
            return match self.config.unlike {
                Unlike::Absent => Ok(Found::Absent),
                Unlike::Unknown => {
                    let detail = "the key is not one that this service can be asked by";
                    Err(Failure::new(Fault::Malformed, detail))
                }
            };
        };
        let mut replies: Replies = Vec::new();
        for call in &self.config.calls {
            let reply = self.call(call, &parts, &replies).await?;
            if reply.is_none() && !call.optional {
                return Ok(Found::Absent);
            }
            replies.push(reply);
        }
        let facts = self.config.facts.iter().zip(&self.types);
        let told = Told { parts: &parts, replies: &replies, calls: &self.config.calls };
        let values = facts.map(|(fact, of)| value(fact, *of, &told));
        values.collect::<Result<Vec<_>, _>>().map(Found::Known)
    }

    /// The reply, or nothing where the service has nothing.
    async fn call(
        &self,
        call: &HttpCall,
        parts: &Parts<'_>,
        replies: &Replies,
    ) -> Result<Option<Json>, Failure> {
        let fill = |template: &Template, into| filled(template, into, parts, replies);
        for path in &call.paths {
            let Some(mut path) = fill(path, Into::Path)? else { return Ok(None) };
            for (index, (name, value)) in call.query.iter().enumerate() {
                let Some(value) = fill(value, Into::Query)? else { return Ok(None) };
                path.push(if index == 0 { '?' } else { '&' });
                path.push_str(&format!("{}={value}", encoded(name)));
            }
            let body = call.body.as_ref().map(|body| {
                body.filled(&|template| fill(template, Into::Json).map(Option::unwrap_or_default))
            });
            let body = body.transpose()?.map(|body| body.to_string().into_bytes());
            let reply = self.service.send(request(call, path.clone(), body)?).await?;
            if is_absent(call, &reply) {
                continue;
            }
            let file = match &call.read {
                Read::Codeowners { file } => fill(file, Into::Json)?.unwrap_or_default(),
                Read::Json | Read::Text => String::new(),
            };
            let first = read(call, &reply, file).await?;
            return match &call.pages {
                None => Ok(Some(first)),
                Some(pages) => self.paged(call, pages, first, (reply, &path)).await.map(Some),
            };
        }
        Ok(None)
    }

    /// Puts the list of all pages together. One that does not end is unknown, never cut.
    async fn paged(
        &self,
        call: &HttpCall,
        pages: &Pages,
        first: Json,
        (reply, base): (Reply, &str),
    ) -> Result<Json, Failure> {
        let items = |page: &Json| -> Result<Vec<Json>, Failure> {
            match pages.items.find(page).as_slice() {
                [Json::Array(items)] => Ok(items.clone()),
                _ => Err(malformed(call, "there is no list where its pages have one")),
            }
        };
        let mut all = items(&first)?;
        let (mut page, mut reply) = (first.clone(), reply);
        for _ in 1..pages.max {
            let Some(path) = self.next(call, pages, (&page, &reply), base)? else {
                return Ok(json!({ "items": all, "first": first }));
            };
            reply = self.service.send(request(call, path, None)?).await?;
            if !(200..300).contains(&reply.status) {
                return Err(status(call, &reply));
            }
            page = read(call, &reply, String::new()).await?;
            all.extend(items(&page)?);
        }
        Err(malformed(call, "its list has more pages than are read"))
    }

    fn next(
        &self,
        call: &HttpCall,
        pages: &Pages,
        (page, reply): (&Json, &Reply),
        base: &str,
    ) -> Result<Option<String>, Failure> {
        match &pages.next {
            Next::Cursor { path, query } => {
                let found = path.find(page);
                let cursor = found.first().and_then(|value| scalar(value));
                let joint = if base.contains('?') { '&' } else { '?' };
                Ok(cursor
                    .filter(|cursor| !cursor.is_empty())
                    .map(|cursor| format!("{base}{joint}{}={}", encoded(query), encoded(&cursor))))
            }
            Next::Link => {
                let links = reply.headers.get_all("link").iter();
                let links = links.filter_map(|link| link.to_str().ok());
                let Some(url) = links.flat_map(|link| link.split(',')).find_map(next_link) else {
                    return Ok(None);
                };
                // Another host is never asked, whatever a reply says.
                let path = url.strip_prefix(self.service.url().trim_end_matches('/'));
                let path = path.filter(|path| path.starts_with('/')).map(str::to_owned);
                path.map(Some).ok_or_else(|| malformed(call, "its next page is somewhere else"))
            }
        }
    }
}

impl Remote for HttpSource {
    fn fetch<'r>(&'r self, key: &'r str) -> BoxFuture<'r, Result<Found, Failure>> {
        Box::pin(self.ask(key))
    }
}

fn next_link(link: &str) -> Option<&str> {
    let (url, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    let is_next = |part: &str| ["rel=\"next\"", "rel=next"].contains(&part.trim());
    rest.split(';').any(is_next).then_some(url)
}

fn malformed(call: &HttpCall, what: &str) -> Failure {
    Failure::new(Fault::Malformed, format!("`{}`: {what}", call.id))
}

fn status(call: &HttpCall, reply: &Reply) -> Failure {
    Failure::new(Fault::Status, format!("`{}`: the service answered {}", call.id, reply.status))
}

fn request(call: &HttpCall, path: String, body: Option<Vec<u8>>) -> Result<Call, Failure> {
    let method = Method::from_bytes(call.method.as_bytes());
    let mut headers = call.headers.clone();
    if body.is_some() {
        headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
    }
    let method = method.map_err(|_| malformed(call, "the method is none"))?;
    Ok(Call { method, path, headers, body })
}

fn is_absent(call: &HttpCall, reply: &Reply) -> bool {
    call.absent_when.iter().any(|when| {
        let holds = |text: &String| String::from_utf8_lossy(&reply.body).contains(text);
        when.status == reply.status && when.contains.as_ref().is_none_or(holds)
    })
}

async fn read(call: &HttpCall, reply: &Reply, file: String) -> Result<Json, Failure> {
    if !(200..300).contains(&reply.status) {
        return Err(status(call, reply));
    }
    let text = || {
        let text = std::str::from_utf8(&reply.body);
        text.map_err(|_| malformed(call, "the reply is not UTF-8"))
    };
    match &call.read {
        Read::Json => {
            serde_json::from_slice(&reply.body).map_err(|_| malformed(call, "the reply is no JSON"))
        }
        Read::Text => Ok(json!({ "text": text()? })),
        Read::Codeowners { .. } => {
            let text = text()?.to_owned();
            // Whoever writes to the repository says how long that takes: nobody else waits for it.
            let found = tokio::task::spawn_blocking(move || owners(&text, &file)).await;
            Ok(match found.map_err(|_| malformed(call, "it can't be read"))? {
                Some(owners) => json!({ "owners": owners }),
                None => json!({}),
            })
        }
    }
}

/// Nothing when it names a reply that there is none of.
///
/// Errors: a value that cannot stand where it is to go.
pub(super) fn filled(
    template: &Template,
    into: Into,
    parts: &Parts<'_>,
    replies: &Replies,
) -> Result<Option<String>, Failure> {
    let mut text = String::new();
    for piece in &template.0 {
        let (value, is_path) = match piece {
            Piece::Text(plain) if into == Into::Query => {
                text.push_str(&encoded(plain));
                continue;
            }
            Piece::Text(plain) => {
                text.push_str(plain);
                continue;
            }
            Piece::Key { name, is_path } => {
                let found = parts.iter().find(|(each, _)| each == name);
                (found.map_or(Cow::Borrowed(""), |(_, value)| Cow::Borrowed(*value)), *is_path)
            }
            Piece::Reply { call, path } => match of_reply(*call, path, replies)? {
                Some(value) => (Cow::Owned(value), false),
                None => return Ok(None),
            },
        };
        match into {
            Into::Path => text.push_str(&segments(&value, is_path)?),
            Into::Query => text.push_str(&encoded(&value)),
            Into::Json => text.push_str(&value),
        }
    }
    Ok(Some(text))
}

fn of_reply(call: usize, path: &ReplyPath, replies: &Replies) -> Result<Option<String>, Failure> {
    let Some(reply) = replies.get(call).and_then(Option::as_ref) else { return Ok(None) };
    match path.find(reply).as_slice() {
        [value] => scalar(value).map(Some).ok_or_else(|| {
            Failure::new(Fault::Malformed, "a reply has no plain value to ask on with")
        }),
        _ => Err(Failure::new(Fault::Malformed, "a reply lacks what to ask on with")),
    }
}

/// INVARIANT: no value leaves the place in the path that the file gives it.
fn segments(value: &str, is_path: bool) -> Result<String, Failure> {
    let parts: Vec<&str> = if is_path { value.split('/').collect() } else { vec![value] };
    if parts.iter().any(|part| part.is_empty() || *part == "." || *part == "..") {
        let detail = "the key cannot stand in a path";
        return Err(Failure::new(Fault::Malformed, detail));
    }
    Ok(parts.iter().map(|part| encoded(part)).collect::<Vec<_>>().join("/"))
}

/// All but letters, digits and `-._~` as `%XX`.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        let c = char::from(byte);
        if byte.is_ascii_alphanumeric() || "-._~".contains(c) {
            encoded.push(c);
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
