//! Facts out of replies.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::cache::wall_clock;
use super::http::{Into, Parts, Replies, filled};
use crate::case::{Millis, Type, Value, hex, parse_duration};
use crate::config::{FactAt, How, HttpCall, HttpFact, Place, Test, scalar};
use crate::service::{Failure, Fault};

/// What facts are made of.
pub(super) struct Told<'t> {
    pub parts: &'t Parts<'t>,
    pub replies: &'t Replies,
    pub calls: &'t [HttpCall],
}

impl Told<'_> {
    fn reply(&self, place: &Place) -> Option<&Json> {
        self.replies.get(place.call).and_then(Option::as_ref)
    }

    /// The first that stands there; nothing, null and an empty text are none.
    fn first(&self, place: &Place) -> Option<&Json> {
        let found = place.path.find(self.reply(place)?).first().copied();
        found.filter(|value| !is_nothing(value))
    }

    fn malformed(&self, place: &Place, why: &str) -> Failure {
        let id = self.calls.get(place.call).map_or("", |call| &call.id);
        Failure::new(Fault::Malformed, format!("`{id}`: {why}"))
    }

    fn time(&self, place: &Place) -> Result<Option<Millis>, Failure> {
        let Some(value) = self.first(place) else { return Ok(None) };
        let time = value.as_str().and_then(Millis::parse);
        time.map(Some).ok_or_else(|| self.malformed(place, WRONG))
    }
}

const WRONG: &str = "a fact has another type in the reply";

fn is_nothing(value: &Json) -> bool {
    value.is_null() || value.as_str().is_some_and(str::is_empty)
}

pub(super) fn value(fact: &HttpFact, of: Type, told: &Told<'_>) -> Result<Value<'static>, Failure> {
    match fact {
        HttpFact::Always(value) => Ok(value.clone()),
        HttpFact::Cases(cases) => {
            for case in cases {
                let holds = match &case.test {
                    Some((place, test)) => does_hold(place, test, told)?,
                    None => true,
                };
                if holds {
                    return Ok(case.give.clone());
                }
            }
            Ok(Value::Absent)
        }
        HttpFact::Older { since, than } => older(since, than, told),
        HttpFact::Digest(places) => Ok(digest(places, told)),
        HttpFact::At(at) => {
            let Some(reply) = told.reply(&at.place) else { return Ok(Value::Absent) };
            read_fact(at, of, reply).map_err(|why| told.malformed(&at.place, why))
        }
    }
}

fn does_hold(place: &Place, test: &Test, told: &Told<'_>) -> Result<bool, Failure> {
    let found = told.first(place);
    let is = |template| {
        let wanted = filled(template, Into::Json, told.parts, told.replies)?;
        Ok::<_, Failure>(found.and_then(scalar).zip(wanted).map(|(found, wanted)| found == wanted))
    };
    Ok(match test {
        Test::There(wanted) => found.is_some() == *wanted,
        Test::Is(template) => is(template)? == Some(true),
        Test::IsNot(template) => is(template)? == Some(false),
        Test::Past(wanted) => {
            told.time(place)?.is_some_and(|time| (time <= wall_clock()) == *wanted)
        }
    })
}

fn older(since: &Place, than: &Place, told: &Told<'_>) -> Result<Value<'static>, Failure> {
    let limit = match told.first(than) {
        None => return Ok(Value::Absent),
        Some(value) => value.as_str().and_then(parse_duration),
    };
    let limit = limit.ok_or_else(|| told.malformed(than, WRONG))?;
    let Some(since) = told.time(since)? else { return Ok(Value::Absent) };
    Ok(Value::Bool(wall_clock().0.saturating_sub(since.0) > limit))
}

/// Absent where none of the calls found anything.
fn digest(places: &[Place], told: &Told<'_>) -> Value<'static> {
    if places.iter().all(|place| told.reply(place).is_none()) {
        return Value::Absent;
    }
    let of = |place: &Place| {
        let found = told.reply(place).map(|reply| place.path.find(reply)).unwrap_or_default();
        canonical(&Json::Array(found.into_iter().cloned().collect()))
    };
    let all = Json::Array(places.iter().map(of).collect());
    Value::Text(hex(&Sha256::digest(all.to_string())).into())
}

/// Errors: why the reply is not understood; says nothing of what stands there.
fn read_fact(at: &FactAt, of: Type, reply: &Json) -> Result<Value<'static>, &'static str> {
    let found = at.place.path.find(reply);
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
        [value]
            if !is_nothing(value) || (of == Type::Text && value.is_string() && !at.optional) =>
        {
            *value
        }
        [] | [_] if at.optional => return Ok(Value::Absent),
        [] | [_] => return Err("a fact's place in the reply is empty"),
        _ => return Err("more than one value stands where a fact does"),
    };
    plain(at, of, value)
}

fn plain(at: &FactAt, of: Type, value: &Json) -> Result<Value<'static>, &'static str> {
    if at.how == How::Unix {
        let seconds = value.as_i64().ok_or(WRONG)?;
        let ms = seconds.checked_mul(1000).filter(|ms| (0..=Millis::LAST.0).contains(ms));
        return ms.map(|ms| Value::Time(Millis(ms))).ok_or(WRONG);
    }
    // As a float has it: 15 digits of a number with a point are surely those that were sent.
    if let (Type::Decimal, Json::Number(number)) = (of, value) {
        let text = number.to_string();
        let is_exact = number.is_i64() || text.bytes().filter(u8::is_ascii_digit).count() <= 15;
        let read = Value::read(of, &text).filter(|_| is_exact);
        return read.map(Value::into_owned).ok_or(WRONG);
    }
    let is_typed = match of {
        Type::Bool => value.is_boolean() || !at.table.is_empty(),
        Type::Int => value.is_i64() || !at.table.is_empty() || at.like.is_some(),
        Type::Text => true,
        Type::List => false,
        Type::Decimal | Type::Time => value.is_string(),
        Type::Duration => value.is_string() || value.is_i64(),
    };
    let text = scalar(value).filter(|_| is_typed).ok_or(WRONG)?;
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
        return seconds.or_else(|| parse_duration(&text)).map(Value::Duration).ok_or(WRONG);
    }
    Value::read(of, &text).map(Value::into_owned).ok_or(WRONG)
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
