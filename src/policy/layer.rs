use crate::case::{SEVERITIES, Type};
use crate::clause::{Condition, Schema, Slot};
use crate::text::{At, Data, Fields, Node, Problems, Source, suggestion};

use super::boundary::{Allow, Deny, Layer, Of, Protected, Require, SuppressLimits};
use super::findings::Code;
use super::hours::{Hours, hours};
use super::obligations::obligations;
use super::orders::{orders, roles};
use super::read::{
    Reference, ToQueue, declared, max_ages, one_of, one_or_more, owner, reference, refuse_unknown,
    require_duration, require_name, strings, to_queue,
};

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
    let default = fields.get("default_queue").map(|node| default_queue(node, problems));
    let has_repair_queue = fields.get("repair_queue").is_some();
    let repair_queue =
        has_repair_queue.then(|| require_name(&mut fields, "repair_queue", problems)).flatten();
    let stop = fields.bool("stop", problems).unwrap_or(false);
    let facts = fields.get("facts");
    let (max_age_ms, declared) = (max_ages(facts, schema, problems), declared(facts, schema));
    let queues = fields.get("queues").map(|node| queues(node, default.is_some(), problems));
    let roles = fields.get("roles").map(|node| roles(node, problems)).unwrap_or_default();
    let orders = fields.get("orders").map(|node| orders(node, problems));
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
    let (escalate_hours, suppress_hours) = reader.hours(&mut fields);
    let obligations = fields.get("obligations").map(|node| obligations(node, reader.problems));
    fields.finish(problems);
    let name = name?;
    protected.iter_mut().for_each(|each| each.label = format!("protected:{name}/{}", each.id));
    deny.iter_mut().for_each(|each| each.label = format!("deny:{name}/{}", each.id));
    Some(Layer {
        stop_label: format!("stop:{name}"),
        name,
        owner: owner?,
        at: node.at.clone(),
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
        escalate_hours,
        suppress_hours,
        obligations: obligations.unwrap_or_default(),
        max_age_ms,
        declared,
        queues,
        roles,
        orders,
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
        let mut patterns = |key: &'static str| {
            let node = fields.get(key)?;
            one_or_more(node, &format!("`{key}`"), self.problems);
            Some(strings(fields, key, self.problems))
        };
        let (nhi, credential) = (patterns("nhi"), patterns("credential"));
        if nhi.is_none() && credential.is_none() {
            let message = "an entry of `protected` names an `nhi` or a `credential`, or both";
            self.problems.add(&fields.at, message);
        }
        let why = fields.require_text("why", self.problems)?.to_owned();
        let (nhi, credential) = (nhi.unwrap_or_default(), credential.unwrap_or_default());
        Some(Protected { label: String::new(), id, nhi, credential, why })
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
        let (environments, tiers) = (list("environments"), list("tiers"));
        let (nhi_kinds, kinds) = (list("nhi_kinds"), list("kinds"));
        let obligations = fields.get("obligations").map(|node| obligations(node, self.problems));
        let obligations = obligations.unwrap_or_default();
        Some(Allow { id, actions, environments, nhi_kinds, kinds, tiers, obligations })
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
        let node = fields.require("when", self.problems);
        let when =
            node.and_then(|node| Condition::read(node, self.source, self.schema, self.problems));
        // INVARIANT (INV-5): a denial that stands only while a fact is unknown is not monotone, and
        // nothing could be proved about it.
        if let Some(when) = &when {
            let why = "name the fact under `require`, which refuses where it is unknown";
            refuse_unknown(when, why, self.problems);
        }
        let text = node.map(written).unwrap_or_default();
        let why = fields.require_text("why", self.problems).map(str::to_owned);
        Some(Deny { id, label: String::new(), of: of?, when: when?, text, why: why? })
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
        let escalate = fields.get("escalate").and_then(|node| self.require_of(node));
        let suppress = fields.get("suppress").and_then(|node| self.require_of(node));
        fields.finish(self.problems);
        (escalate.unwrap_or_default(), suppress.unwrap_or_default())
    }

    fn require_of(&mut self, node: &Node) -> Option<Require> {
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
        let sources = fields.int("sources", self.problems);
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
        let at = fields.get("per_hour").map(|node| &node.at);
        let per_hour = fields.int("per_hour", self.problems);
        if let (Some(at), Some(..1)) = (at, per_hour) {
            self.problems.add(at, "`per_hour` is a number from 1");
        }
        fields.finish(self.problems);
        Some(SuppressLimits { max_expires_ms: max_expires_ms?, never_severity, per_hour })
    }

    fn pass_unknown(&mut self, fields: &mut Fields<'_>) -> Vec<Reference> {
        let names = fields.texts("pass_unknown", self.problems).into_iter();
        names.filter_map(|(path, at)| reference(path, at, self.schema, self.problems)).collect()
    }

    fn hours(&mut self, fields: &mut Fields<'_>) -> (Vec<Hours>, Vec<Hours>) {
        let Some(node) = fields.get("hours") else { return Default::default() };
        let Some(mut fields) = Fields::of(node, "`hours`", self.problems) else {
            return Default::default();
        };
        let mut of =
            |key| fields.get(key).map(|node| hours(node, self.problems)).unwrap_or_default();
        let found = (of("escalate"), of("suppress"));
        fields.finish(self.problems);
        found
    }
}

fn default_queue(node: &Node, problems: &mut Problems) -> Option<ToQueue> {
    let mut fields = Fields::of(node, "`default_queue`", problems)?;
    let to = to_queue(&mut fields, problems);
    fields.finish(problems);
    to
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

/// A condition in one line: its clauses as they are written, and how they are joined.
fn written(node: &Node) -> String {
    match &node.data {
        Data::Text(text) => text.trim().to_owned(),
        Data::List(items) => joined(items, " and "),
        Data::Map(entries) => {
            let part = |(key, value): &(Node, Node)| match (&value.data, key.text()) {
                (Data::List(items), Some("any")) => format!("({})", joined(items, " or ")),
                (_, Some("not")) => format!("not ({})", written(value)),
                _ => format!("({})", written(value)),
            };
            entries.iter().map(part).collect()
        }
        Data::Null | Data::Bool(_) | Data::Int(_) | Data::Decimal(_) => String::new(),
    }
}

fn joined(items: &[Node], by: &str) -> String {
    let part = |item: &Node| match written(item) {
        text if items.len() > 1 && (text.contains("||") || text.contains("&&")) => {
            format!("({text})")
        }
        text => text,
    };
    items.iter().map(part).collect::<Vec<_>>().join(by)
}
