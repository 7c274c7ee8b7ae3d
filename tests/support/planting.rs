//! Puts texts where a pipeline's file says that secrets stand, and everywhere else.
//!
//! Reads the file and walks the message by itself, so that a mistake of the engine's own walk shows.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fmt::Write as _;
use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Map, Value, json};
use tipstaff::json::{Path, Start, Step};

use super::planted::base64;

/// What of a pipeline's file says where things stand.
pub struct Format {
    pub redact: Vec<Path>,
    pub headers: Vec<String>,
    each: Vec<Path>,
    unwrap: Vec<Path>,
    open: Vec<(Path, bool)>,
    ignore_case: bool,
    pub is_csv: bool,
}

/// A message's documents, as values. Strings that the pipeline opens are open in them.
#[derive(Clone)]
pub struct Message {
    pub documents: Vec<Value>,
    is_csv: bool,
    opened: Vec<(usize, Place, Packing)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Packing {
    Json,
    Base64,
    Gzip,
}

/// Keys and indexes from the top of a document.
pub type Place = Vec<Step>;

/// An alert's place, and the places of the items around it, outermost first.
type Item = (Place, Vec<Place>);

#[derive(Default)]
struct Items {
    all: Vec<Item>,
    /// How many of them were to hold a list and have none.
    listless: usize,
    /// Whether a list of alerts was found, be it empty.
    is_there: bool,
}

impl Format {
    pub fn of(file: &str) -> Self {
        let file: Value = serde_saphyr::from_str(file).unwrap();
        let paths = |key: &str| listed(&file[key]).iter().map(parsed).collect();
        let open = listed(&file["open"]).into_iter().map(|entry| {
            let path = if entry.is_string() { &entry } else { &entry["path"] };
            (parsed(path), entry["as"] == "base64")
        });
        let is_csv = file["format"] == "csv";
        let mut headers = Vec::new();
        headers_of(&file, &mut headers);
        Self {
            redact: paths("redact"),
            headers,
            each: if is_csv { vec![parsed(&json!("$[*]"))] } else { paths("each") },
            unwrap: paths("unwrap"),
            open: open.collect(),
            ignore_case: file["ignore_case"] == true,
            is_csv,
        }
    }

    /// Nothing when the body is broken.
    pub fn read(&self, body: &[u8]) -> Option<Message> {
        let mut unpacked = Vec::new();
        let body = if body.starts_with(&[0x1f, 0x8b]) {
            MultiGzDecoder::new(body).read_to_end(&mut unpacked).ok()?;
            &unpacked
        } else {
            body
        };
        let is_csv = self.is_csv;
        let documents = if is_csv { vec![table(body)?] } else { documents(body)? };
        let mut message = Message { documents, is_csv, opened: Vec::new() };
        for (path, is_base64) in &self.open {
            for index in 0..message.documents.len() {
                let document = &message.documents[index];
                for place in self.places(document, &[], &path.steps) {
                    let Some(text) = at(&message.documents[index], &place).as_str() else {
                        continue;
                    };
                    let Some((value, packing)) = opened(text, *is_base64) else { continue };
                    *at_mut(&mut message.documents[index], &place) = value;
                    message.opened.push((index, place, packing));
                }
            }
        }
        Some(message)
    }

    /// Puts `value` at a path of every alert of the message, making way for it.
    pub fn plant(&self, message: &mut Message, path: &Path, value: &Value) -> Vec<(usize, Place)> {
        let mut planted = Vec::new();
        for (index, document) in message.documents.iter_mut().enumerate() {
            for base in self.bases(document, path.start) {
                let mut place = base;
                self.put(document, &mut place, &path.steps, value, &mut |place| {
                    planted.push((index, place.clone()));
                });
            }
        }
        planted
    }

    /// Where paths with this start begin, for each alert.
    fn bases(&self, document: &Value, start: Start) -> Vec<Place> {
        let items = self.items(document);
        let bases = items.into_iter().filter_map(|(item, around)| match start {
            Start::Root => Some(Place::new()),
            Start::Around(up) => around.len().checked_sub(up).map(|at| around[at].clone()),
            Start::Here => {
                let envelopes = self.unwrap.iter().filter_map(|path| {
                    let place = self.places(document, &item, &path.steps).pop()?;
                    at(document, &place).is_object().then_some(place)
                });
                envelopes.into_iter().next().or(Some(item))
            }
        });
        bases.filter(|place| at(document, place).is_object()).collect()
    }

    /// By the first `each` that leads to alerts everywhere, else to some, else to any list at all.
    fn items(&self, document: &Value) -> Vec<Item> {
        let mut chosen = None;
        for path in &self.each {
            let parts: Vec<&[Step]> = path.steps.split_inclusive(Step::is_many).collect();
            let mut items = Items::default();
            self.walk(document, (Place::new(), Vec::new()), &parts, &mut items);
            let rank = match (items.is_there, items.listless) {
                (true, 0) => 3,
                (true, _) => 2,
                (false, 0) => continue,
                (false, _) => 1,
            };
            if chosen.as_ref().is_none_or(|(best, _)| rank > *best) {
                chosen = Some((rank, items.all));
            }
        }
        chosen.map_or_else(|| vec![(Place::new(), Vec::new())], |(_, items)| items)
    }

    /// What stands in a list's place is an item, and an item without its list is an alert itself.
    fn walk(&self, document: &Value, (place, around): Item, parts: &[&[Step]], items: &mut Items) {
        let Some((part, deeper)) = parts.split_first() else {
            items.all.push((place, around));
            return;
        };
        let list = self.places(document, &place, &part[..part.len() - 1]).pop();
        let Some(list) = list else {
            if !around.is_empty() {
                items.listless += 1;
                items.all.push((place, around));
            }
            return;
        };
        let is_list = match at(document, &list) {
            Value::Object(_) => part.last() == Some(&Step::Values),
            other => other.is_array() && part.last() == Some(&Step::Each),
        };
        if around.is_empty() && !is_list {
            return;
        }
        items.is_there |= deeper.is_empty();
        let inside = match at(document, &list) {
            Value::Null => return,
            _ if is_list => self.places(document, &place, part),
            _ => vec![list],
        };
        for inside in inside {
            let around = [&around[..], std::slice::from_ref(&place)].concat();
            self.walk(document, (inside, around), deeper, items);
        }
    }

    /// The places that steps lead to from a place.
    fn places(&self, document: &Value, from: &[Step], steps: &[Step]) -> Vec<Place> {
        let mut places = vec![from.to_vec()];
        for step in steps {
            let next = places.into_iter().flat_map(|place| {
                let inside = self.inside(at(document, &place), step);
                inside.into_iter().map(move |step| [&place[..], &[step]].concat())
            });
            places = next.collect::<Vec<_>>();
        }
        places
    }

    fn inside(&self, value: &Value, step: &Step) -> Vec<Step> {
        match (step, value) {
            (Step::Key(key), Value::Object(map)) => {
                self.key_of(map, key).map(Step::Key).into_iter().collect()
            }
            (Step::Values, Value::Object(map)) => map.keys().cloned().map(Step::Key).collect(),
            (Step::Index(index), Value::Array(list)) if *index < list.len() => {
                vec![Step::Index(*index)]
            }
            (Step::Each, Value::Array(list)) => (0..list.len()).map(Step::Index).collect(),
            (Step::Where { key, value }, Value::Array(list)) => {
                let is_it = |item: &Value| {
                    let found =
                        item.as_object().and_then(|map| Some(&map[&self.key_of(map, key)?]));
                    found.is_some_and(|found| text_of(found) == *value)
                };
                list.iter().position(is_it).map(Step::Index).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    fn key_of(&self, map: &Map<String, Value>, key: &str) -> Option<String> {
        let is_it = |known: &&String| {
            *known == key || (self.ignore_case && known.eq_ignore_ascii_case(key))
        };
        map.keys().find(is_it).cloned()
    }

    fn put(
        &self,
        document: &mut Value,
        place: &mut Place,
        steps: &[Step],
        value: &Value,
        planted: &mut dyn FnMut(&Place),
    ) {
        let Some((step, rest)) = steps.split_first() else {
            *at_mut(document, place) = value.clone();
            planted(place);
            return;
        };
        let here = at_mut(document, place);
        let mut inside = self.inside(here, step);
        if inside.is_empty() {
            inside.push(made(here, step));
        }
        for step in inside {
            place.push(step);
            self.put(document, place, rest, value, planted);
            place.pop();
        }
    }
}

/// Makes a step possible where it is not.
fn made(here: &mut Value, step: &Step) -> Step {
    match step {
        Step::Key(_) | Step::Values => {
            let key = if let Step::Key(key) = step { key } else { "planted" };
            if !here.is_object() {
                *here = json!({});
            }
            here[key] = Value::Null;
            Step::Key(key.to_owned())
        }
        _ => {
            if !here.is_array() {
                *here = json!([]);
            }
            let list = here.as_array_mut().unwrap();
            if let Step::Index(index) = step {
                list.resize(*index, Value::Null);
            }
            list.push(match step {
                Step::Where { key, value } => json!({ key: value }),
                _ => Value::Null,
            });
            Step::Index(list.len() - 1)
        }
    }
}

impl Message {
    /// Every text in it, and every key that an alert's path may name.
    pub fn leaves(&self) -> Vec<(usize, Place)> {
        let mut leaves = Vec::new();
        for (index, document) in self.documents.iter().enumerate() {
            gather(document, &mut Place::new(), &mut |place| leaves.push((index, place.clone())));
        }
        leaves
    }

    pub fn at(&mut self, leaf: &(usize, Place)) -> &mut Value {
        at_mut(&mut self.documents[leaf.0], &leaf.1)
    }

    pub fn append(&mut self, leaf: &(usize, Place), copy: &str) {
        let value = self.at(leaf);
        let text = text_of(value);
        *value = Value::String(format!("{text} {copy}"));
    }

    /// The keys of all values of objects: what `@key` reads.
    pub fn rename_keys(&mut self, format: &Format, copy: &str) {
        for path in &format.each {
            for document in &mut self.documents {
                for (at_step, step) in path.steps.iter().enumerate() {
                    if *step != Step::Values {
                        continue;
                    }
                    for place in format.places(document, &[], &path.steps[..at_step]) {
                        let Value::Object(map) = at_mut(document, &place) else { continue };
                        let renamed = std::mem::take(map).into_iter();
                        *map = renamed.map(|(k, v)| (format!("{k} {copy}"), v)).collect();
                    }
                }
            }
        }
    }

    /// As it would be sent; strings that were opened are closed again when `is_packed`.
    pub fn body(&self, is_packed: bool, is_pretty: bool) -> Vec<u8> {
        let mut documents = self.documents.clone();
        for (index, place, packing) in self.opened.iter().rev().filter(|_| is_packed) {
            let Some(value) = try_at_mut(&mut documents[*index], place) else { continue };
            let text = value.to_string();
            *value = Value::String(match packing {
                Packing::Json => text,
                Packing::Base64 => base64(text.as_bytes()),
                Packing::Gzip => base64(&gzip(text.as_bytes())),
            });
        }
        if self.is_csv {
            return written(&documents[0]);
        }
        let mut body = String::new();
        for document in documents {
            if is_pretty {
                writeln!(body, "{document:#}").unwrap();
            } else {
                writeln!(body, "{document}").unwrap();
            }
        }
        body.into_bytes()
    }
}

fn gather(value: &Value, place: &mut Place, give: &mut dyn FnMut(&Place)) {
    let mut inner = |step: Step, value: &Value| {
        place.push(step);
        gather(value, place, give);
        place.pop();
    };
    match value {
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, value)| inner(Step::Index(index), value));
        }
        Value::Object(map) => {
            map.iter().for_each(|(key, value)| inner(Step::Key(key.clone()), value));
        }
        Value::String(_) => give(place),
        _ => {}
    }
}

fn at<'v>(document: &'v Value, place: &[Step]) -> &'v Value {
    place.iter().fold(document, |value, step| match step {
        Step::Key(key) => &value[key],
        Step::Index(index) => &value[*index],
        _ => unreachable!("a place has keys and indexes"),
    })
}

fn at_mut<'v>(document: &'v mut Value, place: &[Step]) -> &'v mut Value {
    try_at_mut(document, place).unwrap()
}

fn try_at_mut<'v>(document: &'v mut Value, place: &[Step]) -> Option<&'v mut Value> {
    place.iter().try_fold(document, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.get_mut(*index),
        _ => None,
    })
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn listed(value: &Value) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(list) => list.clone(),
        one => vec![one.clone()],
    }
}

fn parsed(path: &Value) -> Path {
    Path::parse(path.as_str().unwrap()).unwrap()
}

fn headers_of(value: &Value, headers: &mut Vec<String>) {
    match value {
        Value::Array(list) => list.iter().for_each(|value| headers_of(value, headers)),
        Value::Object(map) => {
            let is_unwanted = map.get("exists").is_some_and(|exists| exists == false);
            let header = map.get("header").and_then(Value::as_str).filter(|_| !is_unwanted);
            headers.extend(header.map(str::to_owned));
            map.values().for_each(|value| headers_of(value, headers));
        }
        _ => {}
    }
}

fn documents(body: &[u8]) -> Option<Vec<Value>> {
    serde_json::Deserializer::from_slice(body).into_iter().collect::<Result<_, _>>().ok()
}

fn opened(text: &str, is_base64: bool) -> Option<(Value, Packing)> {
    let mut packing = Packing::Json;
    let mut bytes = text.as_bytes().to_vec();
    if is_base64 {
        packing = Packing::Base64;
        bytes = unbase64(text)?;
        if bytes.starts_with(&[0x1f, 0x8b]) {
            packing = Packing::Gzip;
            let mut unpacked = Vec::new();
            MultiGzDecoder::new(&bytes[..]).read_to_end(&mut unpacked).ok()?;
            bytes = unpacked;
        }
    }
    let mut documents = documents(&bytes)?;
    let value = match documents.len() {
        0 => return None,
        1 => documents.pop().unwrap(),
        _ => Value::Array(documents),
    };
    (value.is_object() || value.is_array()).then_some((value, packing))
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for byte in text.trim().trim_end_matches('=').bytes() {
        // The digits of one byte alone, by the writer that the forms are made with.
        let digit = (0..64_u8).find(|digit| base64(&[digit << 2]).as_bytes()[0] == byte)?;
        (bits, count) = (bits << 6 | u32::from(digit), count + 6);
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    Some(out)
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn table(body: &[u8]) -> Option<Value> {
    let mut reader = csv::Reader::from_reader(body);
    let header = reader.headers().ok()?.clone();
    let mut rows = Vec::new();
    for row in reader.records() {
        let row = row.ok()?;
        let cells = header.iter().zip(row.iter());
        let cells = cells.map(|(key, cell)| (key.to_owned(), Value::String(cell.to_owned())));
        rows.push(Value::Object(cells.collect()));
    }
    Some(Value::Array(rows))
}

fn written(rows: &Value) -> Vec<u8> {
    let rows = rows.as_array().unwrap();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut header: Vec<&String> = Vec::new();
    for key in rows.iter().filter_map(Value::as_object).flat_map(Map::keys) {
        if !header.contains(&key) {
            header.push(key);
        }
    }
    writer.write_record(&header).unwrap();
    for row in rows {
        writer.write_record(header.iter().map(|key| text_of(&row[key.as_str()]))).unwrap();
    }
    writer.into_inner().unwrap()
}
