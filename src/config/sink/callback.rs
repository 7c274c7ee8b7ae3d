use std::collections::BTreeMap;

use super::one_place;
use crate::case::Verb;
use crate::config::reply_path::ReplyPath;
use crate::config::webhooks::{Verify, header_name};
use crate::config::words::listed;
use crate::policy::Authority;
use crate::text::{At, Fields, Node, Problems};

/// How a sink's user acknowledges a case there. What proves the sink stands in `tipstaff.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbackConfig {
    pub verify: Verify,
    /// The JSON stands in this field of a form.
    pub form: Option<String>,
    /// What has to stand where; any other request is not for us.
    pub when: Vec<(ReplyPath, String)>,
    /// Of `{{delivery.reference}}`.
    pub case: ReplyPath,
    pub user: ReplyPath,
    /// By the sink's name of a user the person that the boundary knows.
    pub people: BTreeMap<String, (String, At)>,
    pub at: At,
}

#[derive(Clone, Copy)]
enum Word {
    Is(&'static Verify),
    Header,
}

/// None that signs without a time: what was taken once could be shown again for ever.
const WORDS: &[(&str, Word)] = &[
    ("slack", Word::Is(&Verify::Slack)),
    ("standard-webhooks", Word::Is(&Verify::StandardWebhooks)),
    ("bearer", Word::Is(&Verify::Bearer)),
    ("basic", Word::Is(&Verify::Basic)),
    ("header", Word::Header),
];

pub(super) fn callback(node: &Node, problems: &mut Problems) -> Option<CallbackConfig> {
    let mut fields = Fields::of(node, "`callback`", problems)?;
    let word = fields.require("verify", problems);
    let word = word.and_then(|node| listed(node, "verify", WORDS, problems));
    let verify = match word {
        Some(Word::Is(verify)) => Some(verify.clone()),
        Some(Word::Header) => header_name(&mut fields, problems).map(Verify::Header),
        None => None,
    };
    if let (Some(Word::Is(_)), Some(node)) = (word, fields.get("header")) {
        problems.add(&node.at, "`header` goes with `verify: header`");
    }
    let form = fields.text("form", problems).map(str::to_owned);
    let when = fields.get("when").map(|node| when(node, problems)).unwrap_or_default();
    let mut place = |key, problems: &mut Problems| {
        fields.require(key, problems);
        one_place(&mut fields, key, problems)
    };
    let (case, user) = (place("case", problems), place("user", problems));
    let people = fields.require("people", problems).map(|node| people(node, problems));
    let at = fields.at.clone();
    fields.finish(problems);
    Some(CallbackConfig {
        verify: verify?,
        form,
        when,
        case: case?,
        user: user?,
        people: people?,
        at,
    })
}

fn when(node: &Node, problems: &mut Problems) -> Vec<(ReplyPath, String)> {
    let Some(mut fields) = Fields::of(node, "`when`", problems) else { return Vec::new() };
    let mut found = Vec::new();
    for (key, value) in fields.rest() {
        let path = ReplyPath::parse(key.text().unwrap_or_default());
        match (path, value.text()) {
            (Ok(path), Some(text)) if !path.is_many() => found.push((path, text.to_owned())),
            (Ok(_), Some(_)) => problems.add(&key.at, "`when` names one place each"),
            (Ok(_), None) => problems.add(&value.at, "must be a text, in quotes where needed"),
            (Err(why), _) => problems.add(&key.at, why),
        }
    }
    found
}

fn people(node: &Node, problems: &mut Problems) -> BTreeMap<String, (String, At)> {
    let Some(mut fields) = Fields::of(node, "`people`", problems) else { return BTreeMap::new() };
    let mut found = BTreeMap::new();
    for (user, person) in fields.rest() {
        match (user.text(), person.text().filter(|text| !text.trim().is_empty())) {
            (Some(user), Some(text)) => {
                found.insert(user.to_owned(), (text.to_owned(), person.at.clone()));
            }
            _ => problems.add(
                &person.at,
                "must be a person's name behind the name of the sink's user, both texts",
            ),
        }
    }
    if found.is_empty() {
        problems.add(&node.at, "`people` needs at least one");
    }
    found
}

impl CallbackConfig {
    /// Whoever it names must be somebody whose acknowledgement counts.
    pub(in crate::config) fn check_people(&self, authority: &Authority, problems: &mut Problems) {
        for (person, at) in self.people.values() {
            if authority.role(person, Verb::Ack).is_none() {
                problems.add(at, format!("the boundary lets `{person}` not order `ack`"));
            }
        }
    }
}
