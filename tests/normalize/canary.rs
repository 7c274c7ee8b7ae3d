//! INV-6, for every shipped pipeline and each of its examples: what stands at a redacted path leaves
//! in no form, wherever else in the message it is repeated.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};
use tipstaff::case::Field;

use super::planted::{CANARY, base64, forms};
use super::planting::{Format, Message, Place, gzip};
use super::*;

/// Longer than any piece of the canary that could be in a message for another reason.
const PIECE_LEN: usize = 14;

fn formats() -> BTreeMap<String, Format> {
    let pipelines = shipped();
    let names = pipelines.names();
    let file = |name: &str| source(&format!("pipelines/{name}/pipeline.yaml")).text;
    names.map(|name| (name.to_owned(), Format::of(&file(name)))).collect()
}

/// The canary's form for the `index`th place.
fn form(index: usize) -> &'static str {
    static FORMS: LazyLock<Vec<String>> = LazyLock::new(forms);
    &FORMS[index % FORMS.len()]
}

fn read(
    pipelines: &Pipelines,
    format: &Format,
    example: &Example,
    body: &[u8],
) -> Vec<Arrival<'static>> {
    let header = form(body.len());
    let headers: Vec<(&str, &[u8])> =
        format.headers.iter().map(|name| (name.as_str(), header.as_bytes())).collect();
    let message = Incoming { headers: &headers, ..incoming(&example.topic, body) };
    pipelines.read(&message, Some(&example.detector), &keys())
}

fn alerts(arrivals: &[Arrival<'_>]) -> usize {
    arrivals.iter().filter(|arrival| alert(arrival).is_some()).count()
}

/// The first text of the arrivals with a piece of the canary in it, in any form.
fn leak(arrivals: &[Arrival<'_>]) -> Option<String> {
    static PIECES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let middles = forms().into_iter().flat_map(|form| {
            let chars: Vec<char> = form.trim().chars().collect();
            let pieces = chars.windows(PIECE_LEN).step_by(PIECE_LEN / 2);
            pieces.map(String::from_iter).collect::<Vec<_>>()
        });
        middles.collect::<BTreeSet<_>>().into_iter().collect()
    });
    let written = serde_json::to_string(arrivals).unwrap();
    let value: Value = serde_json::from_str(&written).unwrap();
    let mut texts = vec![written];
    texts_of(&value, &mut texts);
    let leaked = |text: &&String| PIECES.iter().any(|piece| text.contains(piece.as_str()));
    texts.iter().rev().find(leaked).cloned()
}

fn texts_of(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::String(text) => texts.push(text.clone()),
        Value::Array(list) => list.iter().for_each(|value| texts_of(value, texts)),
        Value::Object(map) => map.values().for_each(|value| texts_of(value, texts)),
        _ => {}
    }
}

/// Texts of the message that can not be changed without losing an alert: types, times and such.
fn load_bearing(
    is_read: &dyn Fn(&Message) -> bool,
    message: &Message,
    leaves: &[(usize, Place)],
) -> Vec<(usize, Place)> {
    let mut changed = message.clone();
    leaves.iter().for_each(|leaf| changed.append(leaf, "x"));
    if leaves.is_empty() || is_read(&changed) {
        return Vec::new();
    }
    let (front, back) = leaves.split_at(leaves.len() / 2);
    let halves = [front, back].into_iter().filter(|half| half.len() < leaves.len());
    let found: Vec<_> = halves.flat_map(|half| load_bearing(is_read, message, half)).collect();
    if found.is_empty() { leaves.to_vec() } else { found }
}

#[test]
fn a_planted_secret_leaves_in_no_form() {
    let (pipelines, formats) = (shipped(), formats());
    let label = keys().fingerprint(CANARY.trim().as_bytes());
    let mut unseen: BTreeSet<(String, String)> = BTreeSet::new();
    for (name, format) in &formats {
        unseen.extend(format.redact.iter().map(|path| (name.clone(), path.to_string())));
    }
    let mut leaks = BTreeSet::new();
    for (number, example) in examples().iter().enumerate() {
        let (name, format) = (&example.detector, &formats[&example.detector]);
        let Some(message) = format.read(&example.bytes) else { continue };
        let count = |message: &Message| {
            alerts(&read(pipelines, format, example, &message.body(false, false)))
        };
        let before = count(&message);
        let leaves = message.leaves();
        let fixed = load_bearing(&|changed| count(changed) >= before, &message, &leaves);
        for (at, path) in format.redact.iter().enumerate() {
            let shift = number + at;
            let is_odd = shift % 2 == 1;
            let mut copied = message.clone();
            for (index, leaf) in leaves.iter().enumerate().filter(|(_, leaf)| !fixed.contains(leaf))
            {
                copied.append(leaf, form(index + shift));
            }
            copied.rename_keys(format, form(shift));
            let is_nested = is_odd && !format.is_csv;
            let secret = if is_nested { json!([{"k": CANARY}]) } else { json!(CANARY) };
            format.plant(&mut copied, path, &secret);
            let mut body = copied.body(!is_odd, is_odd);
            if number % 3 == 0 {
                body = gzip(&body);
            }
            let arrivals = read(pipelines, format, example, &body);
            if let Some(text) = leak(&arrivals) {
                leaks.insert(format!("{name}/{}: {path} in {text}", example.name));
            }
            if serde_json::to_string(&arrivals).unwrap().contains(&label) {
                unseen.remove(&(name.clone(), path.to_string()));
            }
        }
    }
    assert!(leaks.is_empty(), "{leaks:#?}");
    assert!(unseen.is_empty(), "planted, and never replaced: {unseen:#?}");
}

#[test]
fn a_token_leaves_from_no_text_of_any_example() {
    let (pipelines, keys) = (shipped(), keys());
    let token = format!("{}_{}", "ghp", "n0tArea1".repeat(5));
    let blob = base64(format!("a key {token}").as_bytes());
    let label = keys.fingerprint(token.as_bytes());
    let mut seen = 0;
    for Example { detector, topic, name, bytes } in examples() {
        let Ok(document) = serde_json::from_slice::<Value>(&bytes) else { continue };
        for place in texts(&document) {
            let mut document = document.clone();
            let text = document.pointer_mut(&place).unwrap();
            *text = format!("{} {token} {blob}", text.as_str().unwrap()).into();
            let message = serde_json::to_vec(&document).unwrap();
            let arrivals = pipelines.read(&incoming(&topic, &message), None, &keys);
            let output = serde_json::to_string(&arrivals).unwrap();
            let is_hidden = !output.contains(&token) && !output.contains(&blob);
            assert!(is_hidden, "{detector}/{name}: {place} in {output}");
            seen += usize::from(output.contains(&label));
        }
    }
    assert!(seen > 300, "the token must have been read, and was {seen} times");
}

/// JSON pointers to every text in a document.
fn texts(value: &Value) -> Vec<String> {
    let under = |key: &str, value: &Value| {
        let key = key.replace('~', "~0").replace('/', "~1");
        texts(value).into_iter().map(|rest| format!("/{key}{rest}")).collect::<Vec<_>>()
    };
    match value {
        Value::String(_) => vec![String::new()],
        Value::Array(items) => (0..)
            .zip(items)
            .flat_map(|(at, item): (usize, _)| under(&at.to_string(), item))
            .collect(),
        Value::Object(map) => map.iter().flat_map(|(key, value)| under(key, value)).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn the_same_secret_has_the_same_fingerprint_in_every_writing() {
    let (pipelines, keys) = (shipped(), keys());
    let expected = keys.fingerprint(CANARY.trim().as_bytes());
    for secret in [CANARY.to_owned(), format!("\n  {CANARY}\n")] {
        let finding = serde_json::json!([{"RuleID": "r", "Secret": secret, "Match": "m"}]);
        let text = finding.to_string();
        let arrivals = pipelines.read(&incoming("alerts.gitleaks", text.as_bytes()), None, &keys);
        let alert = alert(&arrivals[0]).unwrap();
        assert_eq!(alert.text(Field::CredentialFingerprint), Some(expected.as_str()));
        assert_eq!(alert.text(Field::NhiId), Some(expected.as_str()));
        assert_eq!(alert.text(Field::NhiKnownBy), Some("fingerprint"));
    }
}

/// How a message is hurt after the secret was planted in it.
#[derive(Debug, Clone)]
enum Damage {
    None,
    Cut(prop::sample::Index),
    Put(prop::sample::Index, Vec<u8>),
    Lose(prop::sample::Index, usize),
    Flip(prop::sample::Index, u8),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    let hostile = prop::sample::select(vec![
        &b"\""[..],
        b"\\",
        b"{",
        b"[",
        b"}",
        b"]",
        b",",
        b":",
        b"\0",
        b"\xff",
        b"\n",
        b"\\u",
        b"\\ud800",
    ]);
    prop_oneof![
        4 => Just(Damage::None),
        1 => at().prop_map(Damage::Cut),
        2 => (at(), prop_oneof![hostile.prop_map(<[u8]>::to_vec), any::<[u8; 2]>().prop_map(Vec::from)])
            .prop_map(|(at, bytes)| Damage::Put(at, bytes)),
        1 => (at(), 1..9_usize).prop_map(|(at, len)| Damage::Lose(at, len)),
        1 => (at(), 1..=255_u8).prop_map(|(at, bits)| Damage::Flip(at, bits)),
    ]
}

impl Damage {
    fn done(&self, body: &mut Vec<u8>) {
        match self {
            Self::None => {}
            Self::Cut(at) => body.truncate(at.index(body.len())),
            Self::Put(at, bytes) => {
                let at = at.index(body.len());
                body.splice(at..at, bytes.iter().copied());
            }
            Self::Lose(at, len) => {
                let at = at.index(body.len());
                body.drain(at..(at + len).min(body.len()));
            }
            Self::Flip(at, bits) => {
                let at = at.index(body.len());
                body[at] ^= bits;
            }
        }
    }
}

/// What the random tests start from.
struct Planting {
    pipelines: &'static Pipelines,
    formats: BTreeMap<String, Format>,
    examples: Vec<(Example, Message)>,
    replaced: Cell<usize>,
}

impl Planting {
    fn new() -> Self {
        let formats = formats();
        let readable = examples().into_iter().filter_map(|example| {
            let format = &formats[&example.detector];
            let message = format.read(&example.bytes).filter(|_| !format.redact.is_empty())?;
            Some((example, message))
        });
        let examples = readable.collect();
        Self { pipelines: shipped(), formats, examples, replaced: Cell::new(0) }
    }
}

#[test]
fn a_secret_leaves_in_no_form_wherever_it_is_and_whatever_is_broken() {
    use prop::sample::Index;
    let planting = Planting::new();
    let label = keys().fingerprint(CANARY.trim().as_bytes());
    let strange = prop_oneof![
        Just(json!(null)),
        Just(json!(1.5e300)),
        Just(json!([])),
        Just(json!({})),
        Just(json!({"a": ["b"]})),
        Just(json!("")),
        Just(json!(CANARY)),
    ];
    let cases = (
        any::<[Index; 3]>(),
        prop::collection::vec((any::<Index>(), 0..forms().len()), 1..4),
        prop::option::weighted(0.2, (any::<Index>(), strange)),
        any::<[bool; 3]>(),
        damage(),
    );
    let config = ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() };
    let run = proptest::test_runner::TestRunner::new(config).run(
        &cases,
        |([example, path, _], copies, strange, [is_packed, is_pretty, is_gzipped], damage)| {
            let (example, message) = example.get(&planting.examples);
            let format = &planting.formats[&example.detector];
            let mut message = message.clone();
            let leaves = message.leaves();
            prop_assume!(!leaves.is_empty());
            for (leaf, form_index) in &copies {
                message.append(leaf.get(&leaves), form(*form_index));
            }
            if let Some((leaf, value)) = strange {
                *message.at(leaf.get(&leaves)) = value;
            }
            let path = path.get(&format.redact);
            let planted = format.plant(&mut message, path, &json!(CANARY));
            prop_assume!(!planted.is_empty());
            let mut body = message.body(is_packed, is_pretty);
            let sound = body.clone();
            damage.done(&mut body);
            let is_sound = body == sound;
            // What can still be read may be another message, with the secret elsewhere.
            let is_json = |text| tipstaff::json::leaves(text).is_ok();
            let is_broken = !format.is_csv
                && message.documents.len() == 1
                && !std::str::from_utf8(&body).is_ok_and(is_json);
            if is_gzipped {
                body = gzip(&body);
            }
            let mut arrivals = read(planting.pipelines, format, example, &body);
            prop_assert!(!arrivals.is_empty());
            if !is_sound && !is_broken {
                arrivals.retain(|arrival| alert(arrival).is_none());
            }
            let written = serde_json::to_string(&arrivals).unwrap();
            let is_replaced = written.contains(&label);
            planting.replaced.set(planting.replaced.get() + usize::from(is_replaced));
            prop_assert_eq!(
                leak(&arrivals),
                None,
                "{}/{}: {}",
                example.detector,
                example.name,
                path
            );
            Ok(())
        },
    );
    if let Err(error) = run {
        panic!("{error}");
    }
    assert!(planting.replaced.get() > 200, "replaced only {} times", planting.replaced.get());
}
