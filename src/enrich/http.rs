use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use reqwest::Method;
use serde_json::{Value as Json, json};
use sha2::{Digest, Sha256};

use super::codeowners::owners;
use super::key::JOINT;
use super::remote::{BoxFuture, Found, Remote};
use super::service::{Call, Failure, Fault, Reply, Service};
use crate::case::{Millis, Type, Value, hex, parse_duration};
use crate::config::{
    FactAt, How, HttpCall, HttpConfig, HttpFact, Next, Pages, Piece, Place, Read, ReplyPath,
    Template, Test, Unlike, scalar,
};

/// A service as an enricher's file says to ask it.
pub struct HttpSource {
    config: HttpConfig,
    types: Vec<Type>,
    service: Arc<Service>,
}

/// Named parts of a key.
type Parts<'k> = Vec<(&'k str, &'k str)>;
/// Nothing where an optional call found nothing.
type Replies = Vec<Option<Json>>;

/// Where in a request a value goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Into {
    Path,
    Query,
    Json,
}

impl HttpSource {
    pub fn new(config: HttpConfig, provides: &[(String, Type)], service: Arc<Service>) -> Self {
        Self { config, types: provides.iter().map(|(_, of)| *of).collect(), service }
    }

    async fn ask(&self, key: &str) -> Result<Found, Failure> {
        let Some(parts) = self.parts(key) else {
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
        let values = facts.map(|(fact, of)| value(fact, *of, &replies, &self.config.calls));
        values.collect::<Result<Vec<_>, _>>().map(Found::Known)
    }

    fn parts<'k>(&'k self, key: &'k str) -> Option<Parts<'k>> {
        let mut parts = Vec::new();
        let mut patterns = self.config.key.iter();
        for part in key.split(JOINT) {
            let pattern = &patterns.next()?.0;
            let found = pattern.captures(part)?;
            let names = pattern.capture_names().flatten();
            parts.extend(names.filter_map(|name| Some((name, found.name(name)?.as_str()))));
        }
        patterns.next().is_none().then_some(parts)
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
            let first = read(call, &reply, &file)?;
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
            page = read(call, &reply, "")?;
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

fn read(call: &HttpCall, reply: &Reply, file: &str) -> Result<Json, Failure> {
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
        Read::Codeowners { .. } => Ok(match owners(text()?, file) {
            Some(owners) => json!({ "owners": owners }),
            None => json!({}),
        }),
    }
}

/// Nothing when it names a reply that there is none of.
///
/// Errors: a value that cannot stand where it is to go.
fn filled(
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

fn value(
    fact: &HttpFact,
    of: Type,
    replies: &Replies,
    calls: &[HttpCall],
) -> Result<Value<'static>, Failure> {
    match fact {
        HttpFact::Always(value) => Ok(value.clone()),
        HttpFact::Cases(cases) => {
            let holds = |test: &Option<(Place, Test)>| {
                test.as_ref().is_none_or(|(place, test)| does_hold(place, test, replies))
            };
            let case = cases.iter().find(|case| holds(&case.test));
            Ok(case.map_or(Value::Absent, |case| case.give.clone()))
        }
        HttpFact::At(at) => {
            let Some(reply) = replies.get(at.place.call).and_then(Option::as_ref) else {
                return Ok(Value::Absent);
            };
            read_fact(at, of, reply).map_err(|why| {
                let id = calls.get(at.place.call).map_or("", |call| &call.id);
                Failure::new(Fault::Malformed, format!("`{id}`: {why}"))
            })
        }
    }
}

fn does_hold(place: &Place, test: &Test, replies: &Replies) -> bool {
    let reply = replies.get(place.call).and_then(Option::as_ref);
    let found = reply.and_then(|reply| place.path.find(reply).first().copied());
    let found = found.filter(|value| !value.is_null());
    match test {
        Test::There(wanted) => found.is_some() == *wanted,
        Test::Is(text) => found.and_then(scalar).is_some_and(|found| found == *text),
        Test::IsNot(text) => found.and_then(scalar).is_some_and(|found| found != *text),
    }
}

/// Errors: why the reply is not understood; says nothing of what stands there.
fn read_fact(at: &FactAt, of: Type, reply: &Json) -> Result<Value<'static>, &'static str> {
    let found = at.place.path.find(reply);
    let none = |value: &&Json| value.is_null() || value.as_str().is_some_and(str::is_empty);
    match &at.how {
        How::Count => {
            let many = || i64::try_from(found.len()).unwrap_or(i64::MAX);
            let one = |items: &Vec<Json>| i64::try_from(items.len()).unwrap_or(i64::MAX);
            let list = match found.as_slice() {
                [Json::Array(items)] => one(items),
                _ => many(),
            };
            return Ok(Value::Int(list));
        }
        How::Digest if !found.iter().all(|value| value.is_null()) => {
            let all: Vec<Json> = found.into_iter().map(canonical).collect();
            let text = match all.as_slice() {
                [one] => one.to_string(),
                all => Json::Array(all.to_vec()).to_string(),
            };
            return Ok(Value::Text(hex(&Sha256::digest(text)).into()));
        }
        How::Join(with) if !found.is_empty() => {
            let lists = found.iter().flat_map(|value| match value {
                Json::Array(items) => items.iter().collect::<Vec<_>>(),
                other => vec![*other],
            });
            let texts: Option<Vec<String>> =
                lists.filter(|value| !value.is_null()).map(scalar).collect();
            let texts = texts.ok_or("a list of more than plain values")?;
            let none = texts.is_empty() && at.optional;
            return Ok(if none { Value::Absent } else { Value::Text(texts.join(with).into()) });
        }
        How::Plain if of == Type::List && !found.is_empty() => {
            let items = found.iter().flat_map(|value| match value {
                Json::Array(items) => items.as_slice(),
                other => std::slice::from_ref(*other),
            });
            let texts =
                items.filter(|value| !value.is_null()).map(|item| scalar(item).map(Box::from));
            let texts: Option<Vec<Box<str>>> = texts.collect();
            let texts = texts.ok_or("a list of more than plain values")?;
            let is_none = texts.is_empty() && at.optional;
            return Ok(if is_none { Value::Absent } else { Value::List(texts.into()) });
        }
        _ => {}
    }
    let value = match found.as_slice() {
        [value] if !none(value) || (of == Type::Text && value.is_string() && !at.optional) => {
            *value
        }
        [] | [_] if at.optional => return Ok(Value::Absent),
        [] | [_] => return Err("a fact's place in the reply is empty"),
        _ => return Err("more than one value stands where a fact does"),
    };
    plain(at, of, value)
}

fn plain(at: &FactAt, of: Type, value: &Json) -> Result<Value<'static>, &'static str> {
    let wrong = "a fact has another type in the reply";
    if at.how == How::Unix {
        let seconds = value.as_i64().ok_or(wrong)?;
        return seconds.checked_mul(1000).map(|ms| Value::Time(Millis(ms))).ok_or(wrong);
    }
    // A number of JSON has at most 15 digits that are surely those which were sent.
    if let (Type::Decimal, Json::Number(number)) = (of, value) {
        let text = number.to_string();
        let is_exact = number.is_i64() || text.bytes().filter(u8::is_ascii_digit).count() <= 15;
        let read = Value::read(of, &text).filter(|_| is_exact);
        return read.map(Value::into_owned).ok_or(wrong);
    }
    let is_typed = match of {
        Type::Bool => value.is_boolean() || !at.table.is_empty(),
        Type::Int => value.is_i64() || !at.table.is_empty(),
        Type::Text => true,
        Type::List => false,
        Type::Decimal | Type::Time => value.is_string(),
        Type::Duration => value.is_string() || value.is_i64(),
    };
    let text = scalar(value).filter(|_| is_typed).ok_or(wrong)?;
    let text = match &at.like {
        None => text,
        Some(like) => {
            let found = like.0.captures(&text).ok_or("a fact is not like its pattern")?;
            let group = found.get(1).or_else(|| found.get(0));
            group.map_or_else(String::new, |group| group.as_str().to_owned())
        }
    };
    let mapped = at.table.iter().find(|(from, _)| *from == text).map(|(_, to)| to.clone());
    let text = mapped.unwrap_or(text);
    if of == Type::Duration {
        let seconds = text.parse::<i64>().ok().and_then(|seconds| seconds.checked_mul(1000));
        return seconds.or_else(|| parse_duration(&text)).map(Value::Duration).ok_or(wrong);
    }
    Value::read(of, &text).map(Value::into_owned).ok_or(wrong)
}

/// Lists of plain values in order, so that an order that means nothing changes nothing.
fn canonical(value: &Json) -> Json {
    match value {
        Json::Array(items) => {
            let mut items: Vec<Json> = items.iter().map(canonical).collect();
            if items.iter().all(|item| scalar(item).is_some()) {
                items.sort_by_key(scalar);
            }
            Json::Array(items)
        }
        Json::Object(members) => {
            let sorted: BTreeMap<&String, &Json> = members.iter().collect();
            sorted.into_iter().map(|(name, value)| (name.clone(), canonical(value))).collect()
        }
        plain => plain.clone(),
    }
}
