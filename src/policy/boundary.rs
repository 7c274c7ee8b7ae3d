use crate::case::Type;
use crate::clause::{Condition, Schema, Slot};
use crate::text::{At, Fields, Node, Problems, Source, suggestion};

use super::findings::Code;
use super::read::{
    Reference, ToQueue, declared, max_ages, one_of, owner, reference, require_duration,
    require_name, strings, to_queue,
};

/// What no playbook can exceed: layers of which every one must agree (INV-5).
#[derive(Debug)]
pub struct Boundary {
    pub layers: Vec<Layer>,
    /// Where alerts go that no playbook is for.
    pub default: ToQueue,
    /// Where alerts wait that are held because a fact is unknown; nothing: where their playbook's
    /// last rule would route them.
    pub repair_queue: Option<String>,
    /// By enricher: the least of all layers' `facts`.
    pub max_age_ms: Vec<Option<i64>>,
    /// The queues that people read, and who does; nothing where nobody says.
    pub queues: Option<Vec<(String, String)>>,
}

#[derive(Debug)]
pub struct Layer {
    pub name: String,
    /// What the verdict on `stop` is called.
    pub stop_label: String,
    pub owner: String,
    pub at: At,
    /// The one layer with `default_queue`. What it does not allow is not allowed; a layer beside it
    /// that says nothing about a matter does not narrow it. So no added layer can ever widen.
    pub is_base: bool,
    pub stop: bool,
    pub protected: Vec<Protected>,
    pub allow: Option<Vec<Allow>>,
    pub deny: Vec<Deny>,
    pub environment: Option<Reference>,
    pub tier: Option<Reference>,
    pub require_escalate: Require,
    pub require_suppress: Require,
    pub suppress: Option<SuppressLimits>,
    /// Names whose unknown may be passed on the way to an escalation.
    pub pass_unknown: Vec<Reference>,
    /// Kind and value, as they travel in a permit.
    pub obligations: Vec<(&'static str, String)>,
    pub(super) default: Option<ToQueue>,
    pub(super) repair_queue: Option<String>,
    pub(super) max_age_ms: Vec<Option<i64>>,
    /// The enrichers under `facts`, and where they stand.
    pub(super) declared: Vec<(usize, At)>,
    queues: Option<Vec<(String, String)>>,
}

#[derive(Debug)]
pub struct Protected {
    pub id: String,
    /// What its verdict is called: `protected:<layer>/<id>`.
    pub label: String,
    /// Exact, or with `*` for any run of characters.
    pub nhi: Vec<String>,
    pub why: String,
}

/// Absent lists do not restrict.
#[derive(Debug)]
pub struct Allow {
    pub id: String,
    pub actions: Vec<String>,
    pub environments: Option<Vec<String>>,
    pub nhi_kinds: Option<Vec<String>>,
    pub kinds: Option<Vec<String>>,
    pub tiers: Option<Vec<String>>,
}

#[derive(Debug)]
pub struct Deny {
    pub id: String,
    /// What its verdict is called: `deny:<layer>/<id>`.
    pub label: String,
    pub of: Of,
    pub when: Condition,
    pub why: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of {
    Suppress,
    Escalate,
    Any,
}

#[derive(Debug, Default)]
pub struct Require {
    /// Each must be present and no older.
    pub facts: Vec<(Reference, i64)>,
    /// Distinct sources of the facts that the winning rule saw.
    pub sources: usize,
}

#[derive(Debug)]
pub struct SuppressLimits {
    pub max_expires_ms: i64,
    pub never_severity: Vec<String>,
}

pub const SEVERITIES: [&str; 5] = ["informational", "low", "medium", "high", "critical"];

impl Of {
    const ALL: [Self; 3] = [Self::Suppress, Self::Escalate, Self::Any];

    fn name(self) -> &'static str {
        match self {
            Self::Suppress => "suppress",
            Self::Escalate => "escalate",
            Self::Any => "any",
        }
    }
}

impl Layer {
    /// Enrichers whose facts this layer reads.
    pub(super) fn enrichers(&self) -> impl Iterator<Item = usize> {
        let clauses = self.deny.iter().flat_map(|deny| deny.when.clauses());
        let named = clauses.flat_map(|clause| clause.names().iter().map(|name| name.slot));
        let required = self.require_escalate.facts.iter().chain(&self.require_suppress.facts);
        let context = self.environment.iter().chain(&self.tier);
        let referred = required.map(|(fact, _)| fact).chain(context).map(|fact| fact.slot);
        named.chain(referred).filter_map(|slot| match slot {
            Slot::Fact { enricher, .. } => Some(enricher),
            Slot::Field(_) | Slot::Seen | Slot::FirstSeen | Slot::Now => None,
        })
    }
}

struct Reader<'r> {
    source: &'r Source,
    schema: &'r Schema,
    actions: &'r [String],
    problems: &'r mut Problems,
}

/// Reads one layer. `actions` are the names that `allow` may name.
pub(super) fn layer(
    node: &Node,
    source: &Source,
    schema: &Schema,
    actions: &[String],
    problems: &mut Problems,
) -> Option<Layer> {
    let mut fields = Fields::of(node, "a boundary", problems)?;
    let name = require_name(&mut fields, "boundary", problems);
    let owner = owner(&mut fields, problems);
    let default = fields.get("default_queue").map(|node| {
        let mut fields = Fields::of(node, "`default_queue`", problems)?;
        let to = to_queue(&mut fields, problems);
        fields.finish(problems);
        to
    });
    let has_repair_queue = fields.get("repair_queue").is_some();
    let repair_queue =
        has_repair_queue.then(|| require_name(&mut fields, "repair_queue", problems)).flatten();
    let stop = fields.bool("stop", problems).unwrap_or(false);
    let facts = fields.get("facts");
    let (max_age_ms, declared) = (max_ages(facts, schema, problems), declared(facts, schema));
    let queues = fields.get("queues").map(|node| queues(node, default.is_some(), problems));
    let mut reader = Reader { source, schema, actions, problems };
    let mut protected = reader.rows(&mut fields, "protected", Reader::protected);
    let (environment, tier) = reader.context(&mut fields);
    let has_allow = fields.get("allow").is_some();
    let allow = reader.rows(&mut fields, "allow", Reader::allow);
    reader.needs_context(&fields.at, &allow, environment.is_some(), tier.is_some());
    let mut deny = reader.rows(&mut fields, "deny", Reader::deny);
    let (require_escalate, require_suppress) = reader.require(&mut fields);
    let suppress = fields.get("suppress").map(|node| reader.suppress(node));
    let pass_unknown = reader.pass_unknown(&mut fields);
    let obligations = fields.get("obligations").map(|node| obligations(node, reader.problems));
    let at = fields.at.clone();
    fields.finish(problems);
    let name = name?;
    protected.iter_mut().for_each(|each| each.label = format!("protected:{name}/{}", each.id));
    deny.iter_mut().for_each(|each| each.label = format!("deny:{name}/{}", each.id));
    Some(Layer {
        stop_label: format!("stop:{name}"),
        name,
        owner: owner?,
        at,
        is_base: default.is_some(),
        default: match default {
            Some(default) => Some(default?),
            None => None,
        },
        repair_queue,
        stop,
        protected,
        allow: has_allow.then_some(allow),
        deny,
        environment,
        tier,
        require_escalate,
        require_suppress,
        suppress: match suppress {
            Some(suppress) => Some(suppress?),
            None => None,
        },
        pass_unknown,
        obligations: obligations.unwrap_or_default(),
        max_age_ms,
        declared,
        queues,
    })
}

impl Reader<'_> {
    /// A list of mappings, each with an `id` of its own.
    fn rows<'n, T>(
        &mut self,
        fields: &mut Fields<'n>,
        key: &'static str,
        read: fn(&mut Self, &mut Fields<'n>, String) -> Option<T>,
    ) -> Vec<T> {
        let mut ids: Vec<String> = Vec::new();
        let mut rows = Vec::new();
        for node in fields.list(key, self.problems) {
            let what = format!("an entry of `{key}`");
            let Some(mut fields) = Fields::of(node, &what, self.problems) else { continue };
            let id = require_name(&mut fields, "id", self.problems);
            if id.as_ref().is_some_and(|id| ids.contains(id)) {
                let message = format!("`{}` is there already", id.as_deref().unwrap_or_default());
                self.problems.add(&node.at, message);
            }
            ids.extend(id.clone());
            rows.extend(read(self, &mut fields, id.unwrap_or_default()));
            fields.finish(self.problems);
        }
        rows
    }

    fn protected(&mut self, fields: &mut Fields<'_>, id: String) -> Option<Protected> {
        fields.require("nhi", self.problems);
        let nhi = strings(fields, "nhi", self.problems);
        let why = fields.require_text("why", self.problems)?.to_owned();
        Some(Protected { label: String::new(), id, nhi, why })
    }

    fn allow(&mut self, fields: &mut Fields<'_>, id: String) -> Option<Allow> {
        fields.require("actions", self.problems);
        let mut actions = Vec::new();
        for (action, at) in fields.texts("actions", self.problems) {
            if !self.actions.iter().any(|known| known == action) {
                let hint = suggestion(action, self.actions.iter().map(String::as_str));
                let message = format!("there is no action `{action}`{hint}");
                self.problems.under(Code::NoAction.id(), |problems| problems.add(at, message));
            }
            actions.push(action.to_owned());
        }
        let mut list = |key| fields.get(key).map(|_| strings(fields, key, self.problems));
        Some(Allow {
            id,
            actions,
            environments: list("environments"),
            nhi_kinds: list("nhi_kinds"),
            kinds: list("kinds"),
            tiers: list("tiers"),
        })
    }

    fn needs_context(&mut self, at: &At, allow: &[Allow], environment: bool, tier: bool) {
        let uses =
            |list: fn(&Allow) -> &Option<Vec<String>>| allow.iter().any(|row| list(row).is_some());
        if uses(|row| &row.environments) && !environment {
            let message = "`allow` names environments: say which fact holds them, `context: {environment: …}`";
            self.problems.add(at, message);
        }
        if uses(|row| &row.tiers) && !tier {
            let message = "`allow` names tiers: say which fact holds them, `context: {tier: …}`";
            self.problems.add(at, message);
        }
    }

    fn deny(&mut self, fields: &mut Fields<'_>, id: String) -> Option<Deny> {
        let of = fields
            .require("of", self.problems)
            .and_then(|node| one_of(node, "of", &Of::ALL, Of::name, self.problems));
        let when = fields
            .require("when", self.problems)
            .and_then(|node| Condition::read(node, self.source, self.schema, self.problems));
        let why = fields.require_text("why", self.problems).map(str::to_owned);
        Some(Deny { id, label: String::new(), of: of?, when: when?, why: why? })
    }

    fn fact(&mut self, node: &Node) -> Option<Reference> {
        let Some(path) = node.text() else {
            self.problems.add(&node.at, format!("must be the name of a fact, not {}", node.kind()));
            return None;
        };
        let found = reference(path, &node.at, self.schema, self.problems)?;
        if !matches!(found.slot, Slot::Fact { .. }) {
            self.problems.add(&node.at, format!("`{path}` is no fact"));
            return None;
        }
        Some(found)
    }

    fn context(&mut self, fields: &mut Fields<'_>) -> (Option<Reference>, Option<Reference>) {
        let Some(node) = fields.get("context") else { return (None, None) };
        let Some(mut fields) = Fields::of(node, "`context`", self.problems) else {
            return (None, None);
        };
        let mut text_fact = |key| {
            let node = fields.get(key)?;
            let fact = self.fact(node)?;
            if fact.of != Type::Text {
                self.problems
                    .add(&node.at, format!("`{}` is {}, not text", fact.path, fact.of.name()));
            }
            Some(fact)
        };
        let found = (text_fact("environment"), text_fact("tier"));
        fields.finish(self.problems);
        found
    }

    fn require(&mut self, fields: &mut Fields<'_>) -> (Require, Require) {
        let Some(node) = fields.get("require") else { return Default::default() };
        let Some(mut fields) = Fields::of(node, "`require`", self.problems) else {
            return Default::default();
        };
        let escalate = fields.get("escalate").and_then(|node| self.require_of(node, true));
        let suppress = fields.get("suppress").and_then(|node| self.require_of(node, false));
        fields.finish(self.problems);
        (escalate.unwrap_or_default(), suppress.unwrap_or_default())
    }

    fn require_of(&mut self, node: &Node, with_sources: bool) -> Option<Require> {
        let mut fields = Fields::of(node, "a requirement", self.problems)?;
        let mut facts = Vec::new();
        let named = fields.get("facts").and_then(|node| Fields::of(node, "`facts`", self.problems));
        for (key, value) in named.map(|mut named| named.rest()).unwrap_or_default() {
            let fact = self.fact(key);
            let age = value.text().and_then(crate::case::parse_duration);
            if age.is_none() {
                self.problems.add(&value.at, "must be an age such as 15m or 24h");
            }
            facts.extend(fact.zip(age));
        }
        let sources = if with_sources { fields.int("sources", self.problems) } else { None };
        fields.finish(self.problems);
        let sources = usize::try_from(sources.unwrap_or(0));
        if sources.is_err() {
            self.problems.add(&node.at, "`sources` can't be below zero");
        }
        Some(Require { facts, sources: sources.ok()? })
    }

    fn suppress(&mut self, node: &Node) -> Option<SuppressLimits> {
        let mut fields = Fields::of(node, "`suppress`", self.problems)?;
        let max_expires_ms = require_duration(&mut fields, "max_expires", self.problems);
        let mut never_severity = Vec::new();
        for (severity, at) in fields.texts("never_severity", self.problems) {
            if !SEVERITIES.contains(&severity) {
                let hint = suggestion(severity, SEVERITIES.into_iter());
                self.problems.add(at, format!("unknown severity `{severity}`{hint}"));
            }
            never_severity.push(severity.to_owned());
        }
        fields.finish(self.problems);
        Some(SuppressLimits { max_expires_ms: max_expires_ms?, never_severity })
    }

    fn pass_unknown(&mut self, fields: &mut Fields<'_>) -> Vec<Reference> {
        let names = fields.texts("pass_unknown", self.problems).into_iter();
        names.filter_map(|(path, at)| reference(path, at, self.schema, self.problems)).collect()
    }
}

/// `{<queue>: <who reads it>}`, in the boundary that has the default queue.
fn queues(node: &Node, is_base: bool, problems: &mut Problems) -> Vec<(String, String)> {
    if !is_base {
        let message = "only the boundary with the `default_queue` lists queues";
        problems.add(&node.at, message);
    }
    let Some(mut named) = Fields::of(node, "`queues`", problems) else { return Vec::new() };
    let mut queues = Vec::new();
    for (key, value) in named.rest() {
        match (key.text(), value.text()) {
            (Some(queue), Some(who)) if !who.is_empty() => {
                queues.push((queue.to_owned(), who.to_owned()));
            }
            _ => problems.under(Code::NoOwner.id(), |problems| {
                problems.add(
                    &value.at,
                    "must say who reads this queue: `cloud-response: cloud-security`",
                );
            }),
        }
    }
    queues
}

fn obligations(node: &Node, problems: &mut Problems) -> Vec<(&'static str, String)> {
    let Some(mut fields) = Fields::of(node, "`obligations`", problems) else { return Vec::new() };
    let mut found = Vec::new();
    if let Some(mut approvals) =
        fields.get("approvals").and_then(|node| Fields::of(node, "`approvals`", problems))
    {
        let role = require_name(&mut approvals, "role", problems);
        approvals.require("count", problems);
        let count = approvals.int("count", problems).filter(|count| *count > 0);
        if count.is_none() {
            problems.add(&approvals.at, "`count` must be a whole number above zero");
        }
        found.extend(role.zip(count).map(|(role, count)| ("approvals", format!("{count} {role}"))));
        approvals.finish(problems);
    }
    for key in ["per_hour", "per_owner", "share_percent"] {
        let limit = fields.int(key, problems);
        if limit.is_some_and(|limit| limit < 0 || (key == "share_percent" && limit > 100)) {
            problems.add(&fields.at, format!("`{key}` is out of range"));
        }
        found.extend(limit.map(|limit| (key, limit.to_string())));
    }
    if let Some(node) = fields.get("hours") {
        match node.text().filter(|text| are_hours(text)) {
            Some(text) => found.push(("hours", text.to_owned())),
            None => problems.add(&node.at, "`hours` must be like `mon-fri 08:00-18:00` (UTC)"),
        }
    }
    if fields.bool("change_ticket", problems) == Some(true) {
        found.push(("change_ticket", "required".to_owned()));
    }
    fields.finish(problems);
    found
}

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// `mon-fri 08:00-18:00`, or the times alone. UTC.
fn are_hours(text: &str) -> bool {
    let (days, times) = match text.split_once(' ') {
        Some((days, times)) => (days.split_once('-'), times),
        None => (Some(("mon", "sun")), text),
    };
    let is_time = |text: &str| {
        let number = |text: &str| text.parse::<u8>().ok().filter(|_| text.len() == 2);
        let parts = text.split_once(':').map(|(h, m)| (number(h), number(m)));
        matches!(parts, Some((Some(0..=23), Some(0..=59)))) || text == "24:00"
    };
    days.is_some_and(|(from, to)| DAYS.contains(&from) && DAYS.contains(&to))
        && times.split_once('-').is_some_and(|(from, to)| is_time(from) && is_time(to))
}

/// The layers as one; nothing without a base.
pub(super) fn boundary(layers: Vec<Layer>, problems: &mut Problems) -> Option<Boundary> {
    for (index, layer) in layers.iter().enumerate() {
        if layers.iter().take(index).any(|earlier| earlier.name == layer.name) {
            problems.add(&layer.at, format!("boundary `{}` is there already", layer.name));
        }
    }
    let default = layers.iter().find_map(|layer| layer.default.clone())?;
    let repair_queue = layers.iter().find_map(|layer| layer.repair_queue.clone());
    let mut max_age_ms: Vec<Option<i64>> = Vec::new();
    for layer in &layers {
        narrow(&mut max_age_ms, &layer.max_age_ms);
    }
    let queues = layers.iter().find_map(|layer| layer.queues.clone());
    Some(Boundary { layers, default, repair_queue, max_age_ms, queues })
}

/// The lesser age of both, for every enricher.
pub(super) fn narrow(ages: &mut Vec<Option<i64>>, by: &[Option<i64>]) {
    ages.resize(ages.len().max(by.len()), None);
    for (age, other) in ages.iter_mut().zip(by) {
        *age = match (*age, *other) {
            (Some(age), Some(other)) => Some(age.min(other)),
            (age, other) => age.or(other),
        };
    }
}
