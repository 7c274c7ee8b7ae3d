use serde_json::Value as Json;

use super::Known;
use crate::case::Field;
use crate::config::sink::{Delivery, From, Only, Placeholder, Told};

/// A case as it came from its topic.
#[derive(Debug, Clone)]
pub struct Case {
    json: Json,
    id: String,
    revision: u64,
    key: String,
}

/// What a placeholder stands for in one case.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    Value(Json),
    Absent,
    /// In words.
    Unknown(String),
}

const VERSION: i64 = 1;
const ID_MAX: usize = 128;

impl Case {
    /// Errors: one sentence, without anything of the value: it is no case, or it names no record,
    /// so that nothing stands behind it (INV-2).
    pub fn read(value: &[u8]) -> Result<Self, &'static str> {
        let json: Json = serde_json::from_slice(value).map_err(|_| "it is not JSON")?;
        if json.get("v").and_then(Json::as_i64) != Some(VERSION) {
            return Err("it is no case of version 1");
        }
        let record = json.get("record").ok_or("it names no record")?;
        let text = |name| record.get(name).and_then(Json::as_str);
        let (hash, chain) = (text("hash").unwrap_or_default(), text("chain").unwrap_or_default());
        let is_hash = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
        let seq = record.get("seq").and_then(Json::as_u64);
        seq.filter(|_| is_hash && !chain.is_empty()).ok_or("it names no record")?;
        let id = json.get("case_id").and_then(Json::as_str).unwrap_or_default();
        let is_id = |id: &str| (1..=ID_MAX).contains(&id.len());
        if !is_id(id) || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err("it has no id");
        }
        let id = id.to_owned();
        let revision =
            json.get("case_revision").and_then(Json::as_u64).ok_or("it has no revision")?;
        let key = format!("{id}/{revision}");
        Ok(Self { json, id, revision, key })
    }

    pub fn json(&self) -> &Json {
        &self.json
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// `<case id>/<revision>`
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Where it is now; a case that left a queue is told there with the queue it went to.
    pub fn queue(&self) -> &str {
        self.text("queue")
    }

    pub fn chain(&self) -> &str {
        self.json.pointer("/record/chain").and_then(Json::as_str).unwrap_or_default()
    }

    pub fn is_of(&self, only: &Only) -> bool {
        let priority = self.text("priority");
        let is_priority =
            only.priority.is_empty() || only.priority.iter().any(|each| each.name() == priority);
        is_priority && (only.state.is_empty() || only.state.iter().any(|s| s == self.text("state")))
    }

    fn text(&self, name: &str) -> &str {
        self.json.get(name).and_then(Json::as_str).unwrap_or_default()
    }

    pub fn says(&self, placeholder: &Placeholder, known: &Known<'_>) -> Said {
        match placeholder {
            Placeholder::Word(word) => match word.from {
                From::Case(pointer) => said(self.json.pointer(pointer)),
                From::Told(what) => list(self.told(what)),
                From::Delivery(what) => {
                    let value = match what {
                        Delivery::Key => Some(self.key().to_owned()),
                        Delivery::Sink => Some(known.sink.to_owned()),
                        Delivery::To => known.to.map(str::to_owned),
                        Delivery::Found => known.found.map(str::to_owned),
                        Delivery::Reference => self.reference(),
                    };
                    value.map_or(Said::Absent, |text| Said::Value(text.into()))
                }
            },
            Placeholder::Alert(field) => self.alert(*field),
            Placeholder::Fact { enricher, field, .. } => self.fact(enricher, field),
        }
    }

    /// The case with what its partition follows from: whose it is, or its alert where that is
    /// nobody's.
    fn reference(&self) -> Option<String> {
        let places = ["/nhi", "/alert/nhi/id", "/alert_ids/0"];
        let mut found = places.iter().filter_map(|place| self.json.pointer(place)?.as_str());
        Some(format!("{}/{}", self.key, found.next()?))
    }

    fn alert(&self, field: Field) -> Said {
        let path = field.path();
        let alert = self.json.get("alert");
        said(match path.split_once('.') {
            Some((group, name)) => alert.and_then(|alert| alert.get(group)?.get(name)),
            None => alert.and_then(|alert| alert.get(path)),
        })
    }

    fn list(&self, name: &str) -> &[Json] {
        self.json.get(name).and_then(Json::as_array).map_or(&[], Vec::as_slice)
    }

    fn fact(&self, enricher: &str, field: &str) -> Said {
        let is_of = |row: &&Json| row.get("enricher").and_then(Json::as_str) == Some(enricher);
        let Some(row) = self.list("facts").iter().find(is_of) else { return Said::Absent };
        match of(row, "state") {
            "known" => said(row.get("values").and_then(|values| values.get(field))),
            "unknown" => Said::Unknown(of(row, "why").to_owned()),
            _ => Said::Absent,
        }
    }

    fn told(&self, what: Told) -> Vec<String> {
        let facts = |is_known: bool| {
            let rows = self.list("facts").iter();
            rows.filter(move |row| (of(row, "state") == "known") == is_known)
        };
        match what {
            Told::Because => self.list("because").iter().map(because).collect(),
            Told::Blocked => {
                let blocked = self.list("blocked_actions").iter();
                blocked.map(|each| format!("{}: {}", of(each, "action"), of(each, "why"))).collect()
            }
            Told::Facts => facts(true).map(known_fact).collect(),
            Told::Missing => facts(false).map(missing).collect(),
            Told::Repair => {
                self.list("repair").iter().map(|each| of(each, "what").to_owned()).collect()
            }
        }
    }
}

fn of<'j>(json: &'j Json, name: &str) -> &'j str {
    json.get(name).and_then(Json::as_str).unwrap_or_default()
}

/// A field that is unknown by itself is an object that says why.
fn said(value: Option<&Json>) -> Said {
    match value {
        None | Some(Json::Null) => Said::Absent,
        Some(Json::Array(items)) if items.is_empty() => Said::Absent,
        Some(value @ Json::Object(_)) => match value.get("unknown").and_then(Json::as_str) {
            Some(why) => Said::Unknown(why.to_owned()),
            None => Said::Absent,
        },
        Some(value) => Said::Value(value.clone()),
    }
}

fn list(items: Vec<String>) -> Said {
    if items.is_empty() { Said::Absent } else { Said::Value(items.into()) }
}

fn because(each: &Json) -> String {
    let seen = each.get("seen").and_then(Json::as_array).map_or(&[][..], Vec::as_slice);
    let seen: Vec<String> =
        seen.iter().map(|seen| format!("{} is {}", of(seen, "name"), of(seen, "value"))).collect();
    let seen = if seen.is_empty() { String::new() } else { format!(" ({})", seen.join(", ")) };
    format!("{}{seen}", of(each, "clause"))
}

fn known_fact(row: &Json) -> String {
    let values = row.get("values").and_then(Json::as_object);
    let values: Vec<String> = values
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name} {}", in_words(value)))
        .collect();
    let as_of = match of(row, "as_of") {
        "" => String::new(),
        as_of => format!(", as of {as_of}"),
    };
    format!("{}: {} (from {}{as_of})", of(row, "enricher"), values.join(", "), of(row, "source"))
}

fn missing(row: &Json) -> String {
    let why = if of(row, "state") == "unknown" { of(row, "why") } else { "not there" };
    format!("{}: {why} (from {})", of(row, "enricher"), of(row, "source"))
}

/// As text: a list in one line.
pub(super) fn in_words(value: &Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => text.clone(),
        Json::Bool(flag) => flag.to_string(),
        Json::Number(number) => number.to_string(),
        Json::Array(items) => items.iter().map(in_words).collect::<Vec<_>>().join("; "),
        Json::Object(_) => match value.get("unknown").and_then(Json::as_str) {
            Some(why) => format!("unknown ({why})"),
            None => value.to_string(),
        },
    }
}
