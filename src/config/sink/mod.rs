//! `playbooks/sinks/<name>.yaml`: where cases are told of, and how they are written there.

mod callback;
mod words;
mod text;
mod request;

use super::reply_path::ReplyPath;
use super::words::listed;
use crate::case::{CASE_STATES, Priority};
use crate::clause::Schema;
use crate::config::http::reply_path;
use crate::config::service::{Start, start};
use crate::text::{At, Fields, Node, Problems, Source, read};

pub use callback::CallbackConfig;
pub use request::{Leaf, Markup, SinkRequest, Writing};
pub use text::{Line, Piece, Text};
pub use words::{Delivery, From, Placeholder, Told, WORDS, Word};

use callback::callback;
use request::{MARKUPS, nearest, one_line, request, request_of};
use text::Names;

/// One sink. Where its service is, and what that is shown, stands in `tipstaff.yaml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkConfig {
    pub name: String,
    pub owner: String,
    pub service: String,
    /// Without it those of every queue.
    pub queues: Option<Vec<(String, At)>>,
    pub only: Only,
    /// Where `topics create` lets it begin. Without it at the end, but at the beginning of a queue
    /// that comes to one that has begun already.
    pub start: Option<Start>,
    pub to: Option<To>,
    /// Asked first: whether it knows the case already.
    pub find: Option<Find>,
    pub request: SinkRequest,
    /// In its place where the case is known there already.
    pub update: Option<SinkRequest>,
    pub reply: ReplyReading,
    /// How its users acknowledge a case.
    pub callback: Option<CallbackConfig>,
    pub at: At,
    pub service_at: At,
}

/// What is told; an empty list is everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Only {
    pub priority: Vec<Priority>,
    pub state: Vec<String>,
}

/// A channel or address made of what a case says, such as its owner's team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct To {
    pub address: Text,
    /// Where the case does not say, or what it says is no plain name.
    pub otherwise: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Find {
    pub request: SinkRequest,
    pub found: ReplyPath,
}

/// What an answer to a delivery says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReplyReading {
    /// For the log.
    pub link: Option<ReplyPath>,
    /// What later revisions of the case have as `delivery.found`.
    pub found: Option<ReplyPath>,
    /// A flag that must be true, for services that say 200 to everything.
    pub accepted: Option<ReplyPath>,
    /// Where they say then what is wrong.
    pub error: Option<ReplyPath>,
    /// Of these, those after which it is tried again.
    pub again: Vec<String>,
    /// And those for which nothing is delivered until somebody has mended it.
    pub pause: Vec<String>,
}

const NAME_MAX: usize = 40;

/// Its name is that of its file, so that it is found by it.
pub(super) fn sink(
    source: &Source,
    file: &str,
    schema: &Schema,
    problems: &mut Problems,
) -> Option<SinkConfig> {
    let before = problems.len();
    let node = read(source, problems)?;
    let mut fields = Fields::of(&node, "a sink", problems)?;
    let names = Names { schema, source };
    let name = name(&mut fields, file, problems);
    let owner = fields.require_text("owner", problems).map(str::to_owned);
    let service_at = fields.require("service", problems).map(|node| node.at.clone());
    let service = fields.text("service", problems).map(str::to_owned);
    let queues = fields.require("queues", problems);
    let queues = queues.map(|node| queues_of(node, &mut fields, problems));
    let only = fields.get("only").and_then(|node| only(node, problems)).unwrap_or_default();
    let start = fields.get("start").and_then(|node| start(node, problems));
    let markup = fields.get("markup").and_then(|node| listed(node, "markup", MARKUPS, problems));
    let markup = markup.unwrap_or(Markup::Raw);
    let to = fields.get("to").map(|node| to(node, names, problems));
    let find = fields.get("find").map(|node| find(node, names, problems));
    let main = fields.require("request", problems);
    let main = main.and_then(|node| request(node, "`request`", markup, names, problems));
    let update = fields.get("update");
    let update = update.map(|node| request(node, "`update`", markup, names, problems));
    let reply = fields.get("reply").and_then(|node| reply(node, problems)).unwrap_or_default();
    let callback = fields.get("callback").map(|node| callback(node, problems));
    if let Some(node) = fields.get("update")
        && find.is_none()
        && reply.found.is_none()
    {
        problems.add(&node.at, "`update` goes with `find`, or with `found` of `reply`");
    }
    let at = fields.at.clone();
    fields.finish(problems);
    (problems.len() == before).then_some(())?;
    Some(SinkConfig {
        name: name?,
        owner: owner?,
        service: service?,
        queues: queues?,
        only,
        start,
        to: to.flatten(),
        find: find.flatten(),
        request: main?,
        update: update.flatten(),
        reply,
        callback: callback.flatten(),
        at,
        service_at: service_at?,
    })
}

fn name(fields: &mut Fields<'_>, file: &str, problems: &mut Problems) -> Option<String> {
    let at = fields.require("sink", problems)?.at.clone();
    let name = fields.text("sink", problems)?;
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(allowed) {
        problems.add(&at, format!("`sink` must be 1 to {NAME_MAX} small letters, digits or `-`"));
    } else if name != file {
        problems.add(&at, format!("`{name}` must be named like its file `{file}.yaml`"));
    }
    Some(name.to_owned())
}

fn queues_of(
    node: &Node,
    fields: &mut Fields<'_>,
    problems: &mut Problems,
) -> Option<Vec<(String, At)>> {
    if node.text() == Some("all") {
        return None;
    }
    let queues = fields.texts("queues", problems);
    if queues.is_empty() {
        problems.add(&node.at, "`queues` must be `all` or name at least one");
    }
    Some(queues.into_iter().map(|(name, at)| (name.to_owned(), at.clone())).collect())
}

fn only(node: &Node, problems: &mut Problems) -> Option<Only> {
    let mut fields = Fields::of(node, "`only`", problems)?;
    let mut only = Only::default();
    let priorities = Priority::ALL.map(|each| (each.name(), each));
    for item in fields.list("priority", problems) {
        only.priority.extend(listed(item, "priority", &priorities, problems));
    }
    for item in fields.list("state", problems) {
        // `moved` is told to the queue that a case has left.
        let states = CASE_STATES.into_iter().chain(["moved"]);
        let states: Vec<(&str, &str)> = states.map(|state| (state, state)).collect();
        only.state.extend(listed(item, "state", &states, problems).map(str::to_owned));
    }
    fields.finish(problems);
    Some(only)
}

fn to(node: &Node, names: Names<'_>, problems: &mut Problems) -> Option<To> {
    let mut fields = Fields::of(node, "`to`", problems)?;
    let address = fields.require("address", problems);
    let address = address.and_then(|node| one_line(node, names, problems));
    let otherwise = fields.require_text("otherwise", problems).map(str::to_owned);
    fields.finish(problems);
    Some(To { address: address?, otherwise: otherwise? })
}

fn find(node: &Node, names: Names<'_>, problems: &mut Problems) -> Option<Find> {
    let mut fields = Fields::of(node, "`find`", problems)?;
    let request = request_of(&mut fields, Markup::Raw, names, problems);
    fields.require("found", problems);
    let found = one_place(&mut fields, "found", problems);
    fields.finish(problems);
    Some(Find { request: request?, found: found? })
}

fn reply(node: &Node, problems: &mut Problems) -> Option<ReplyReading> {
    let mut fields = Fields::of(node, "`reply`", problems)?;
    let mut path = |key, problems: &mut Problems| one_place(&mut fields, key, problems);
    let (link, found) = (path("link", problems), path("found", problems));
    let (accepted, error) = (path("accepted", problems), path("error", problems));
    let mut words = |key: &'static str, problems: &mut Problems| {
        let texts = fields.texts(key, problems);
        texts.into_iter().map(|(text, _)| text.to_owned()).collect::<Vec<_>>()
    };
    let (again, pause) = (words("again", problems), words("pause", problems));
    if accepted.is_none() && (error.is_some() || !again.is_empty() || !pause.is_empty()) {
        problems.add(&node.at, "`error`, `again` and `pause` go with `accepted`");
    }
    fields.finish(problems);
    Some(ReplyReading { link, found, accepted, error, again, pause })
}

fn one_place(
    fields: &mut Fields<'_>,
    key: &'static str,
    problems: &mut Problems,
) -> Option<ReplyPath> {
    let at = fields.get(key)?.at.clone();
    let path = reply_path(fields, key, problems)?;
    if path.is_many() {
        problems.add(&at, format!("`{key}` must be one place"));
    }
    Some(path)
}

/// What only the whole configuration can say of the sinks.
pub(super) fn check_queues<'q>(
    sinks: &[SinkConfig],
    known: impl Iterator<Item = &'q str> + Clone,
    problems: &mut Problems,
) {
    for (queue, at) in sinks.iter().flat_map(|sink| sink.queues.iter().flatten()) {
        if !known.clone().any(|each| each == queue) {
            let hint = nearest(queue, known.clone());
            problems.add(at, format!("no rule leads to a queue `{queue}`{hint}"));
        }
    }
}

/// Those that `tipstaff.yaml` switches on must be there, and so must what they send to.
pub(super) fn check_named(
    named: &[(String, At)],
    sinks: &[SinkConfig],
    services: &[&str],
    problems: &mut Problems,
) {
    for (name, at) in named {
        let Some(sink) = sinks.iter().find(|sink| sink.name == *name) else {
            let hint = nearest(name, sinks.iter().map(|sink| sink.name.as_str()));
            problems.add(at, format!("no file `playbooks/sinks/{name}.yaml`{hint}"));
            continue;
        };
        if !services.contains(&sink.service.as_str()) {
            let hint = nearest(&sink.service, services.iter().copied());
            let message =
                format!("`services` has no `{}`, which `{name}` sends to{hint}", sink.service);
            problems.add(at, message);
        }
    }
}
