use std::collections::{BTreeMap, BTreeSet};

use crate::case::{Field, Type, Value, Why};
use crate::clause::{Condition, Slot};
use crate::policy::{Allow, Deny, Layer, Obligations, Of, Require};

use super::axes::{At, Axes};
use super::rows::Reach;
use super::vocabulary::texts_of;
use super::world::{Stands, World};
use super::{Bounds, Need};

/// What somebody asks the boundary for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ask {
    Action(String),
    Suppress,
    /// A pipeline says that there is nothing to act on.
    NotAnAlert,
}

impl Ask {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Action(name) => name,
            Self::Suppress => "suppress",
            Self::NotAnAlert => "suppress not_an_alert",
        }
    }

    pub(super) fn meets(&self, deny: &Deny) -> bool {
        let of = if matches!(self, Self::Action(_)) { Of::Escalate } else { Of::Suppress };
        deny.is_of(of)
    }
}

/// One boundary, asked for one thing.
pub(super) struct Judge<'b> {
    bounds: Bounds<'b>,
    ask: &'b Ask,
    denials: Vec<&'b Deny>,
    nothing: World,
}

/// A text that no file holds, for any that is not listed.
const OTHER: &str = "\u{0}other";

impl<'b> Judge<'b> {
    pub(super) fn new(bounds: Bounds<'b>, ask: &'b Ask) -> Self {
        let all = bounds.boundary.layers.iter().flat_map(|layer| &layer.deny);
        let denials = all.filter(|deny| ask.meets(deny)).collect();
        Self { bounds, ask, denials, nothing: World::new(bounds.schema) }
    }

    fn layers(&self) -> &'b [Layer] {
        &self.bounds.boundary.layers
    }

    fn require(&self, layer: &'b Layer) -> Option<&'b Require> {
        match self.ask {
            Ask::Action(_) => Some(&layer.require_escalate),
            Ask::Suppress => Some(&layer.require_suppress),
            Ask::NotAnAlert => None,
        }
    }

    /// Rows of `allow` for this action; nothing where the layer does not narrow.
    fn rows(&self, layer: &'b Layer) -> Option<Vec<&'b Allow>> {
        let Ask::Action(action) = self.ask else { return None };
        match &layer.allow {
            Some(rows) => Some(rows.iter().filter(|row| row.actions.contains(action)).collect()),
            None => layer.is_base.then(Vec::new),
        }
    }

    /// Places that are tried value by value, with their names.
    pub(super) fn listed(&self) -> Vec<(Slot, String)> {
        let field = |field: Field| (Slot::Field(field), field.path());
        let mut found = Vec::new();
        let mut kinds = vec![field(Field::Kind)];
        let mut contexts = Vec::new();
        for layer in self.layers() {
            for reference in layer.environment.iter().chain(&layer.tier) {
                contexts.push((reference.slot, reference.path.clone()));
            }
        }
        kinds.append(&mut contexts);
        kinds.extend([field(Field::NhiKind), field(Field::Severity)]);
        for (slot, path) in kinds {
            if self.tells_apart(slot) {
                found.push((slot, path));
            }
        }
        found
    }

    fn tells_apart(&self, slot: Slot) -> bool {
        let (texts, open) = self.texts_of(slot);
        let by_itself = match (self.ask, slot) {
            // A person is never contained automatically, nor what may be one.
            (Ask::Action(_), Slot::Field(Field::NhiKind)) => true,
            (Ask::Action(_), _) => false,
            (_, Slot::Field(Field::Severity)) => {
                let limits = self.layers().iter().filter_map(|layer| layer.suppress.as_ref());
                limits.into_iter().any(|limits| !limits.never_severity.is_empty())
            }
            _ => false,
        };
        let in_denial = self.denials.iter().any(|deny| names(&deny.when, slot));
        by_itself || in_denial || open || !texts.is_empty()
    }

    /// Texts that the boundary compares a place with, and whether it looks at it otherwise, too.
    pub(super) fn texts_of(&self, slot: Slot) -> (Vec<String>, bool) {
        let mut texts: Vec<String> = Vec::new();
        let mut is_open = false;
        for deny in &self.denials {
            match texts_of(&deny.when, slot) {
                Some(found) => texts.extend(found),
                None => is_open = true,
            }
        }
        for layer in self.layers() {
            for row in self.rows(layer).unwrap_or_default() {
                for (place, list) in lists(layer, row) {
                    if place == Some(slot) {
                        texts.extend(list.iter().flatten().cloned());
                    }
                }
            }
        }
        (texts, is_open)
    }

    /// Whether some combination of listed values leaves a denial undecided.
    pub(super) fn is_open(&self, deny: &Deny) -> bool {
        let listed = self.listed();
        let is_listed = |slot| listed.iter().any(|(each, _)| *each == slot);
        let clauses = deny.when.clauses();
        let mut names = clauses.iter().flat_map(|clause| clause.names());
        names.any(|name| !is_listed(name.slot) || texts_of(&deny.when, name.slot).is_none())
    }

    /// How it is reached with these values, if it is at all.
    pub(super) fn reach(&self, axes: &Axes, point: &[usize]) -> Option<Reach> {
        let mut world = self.nothing.clone();
        for (axis, at) in axes.at(point) {
            match at {
                At::Other if axis.is_open => {}
                At::Other => world.fix(axis.slot, Value::Text(OTHER.into())),
                At::Text(text) => world.fix(axis.slot, Value::Text(text.clone().into())),
                At::Absent => world.fix(axis.slot, Value::Absent),
                At::Unknown => world.fix(axis.slot, Value::Unknown(Why::Error)),
            }
        }
        if self.layers().iter().any(|layer| layer.stop) || !self.is_one_of_ours(&world) {
            return None;
        }
        let (allowed_by, obligations) = self.allowed(&world)?;
        let mut needs = self.needs(&world)?;
        needs.extend(of_obligations(&obligations));
        let mut undecided: Vec<&Deny> = Vec::new();
        for deny in &self.denials {
            match world.stands(&deny.when) {
                Stands::No => {}
                Stands::Maybe => undecided.push(deny),
                Stands::Yes => return None,
            }
        }
        needs.extend(undecided.iter().map(|deny| Need::Not(deny.text.clone())));
        let facts = self.facts(&world, axes, &undecided)?;
        Some(Reach { needs, facts, allowed_by })
    }

    /// What holds without a line in any file.
    fn is_one_of_ours(&self, world: &World) -> bool {
        let severity = world.field(Field::Severity);
        match self.ask {
            Ask::Action(_) => match world.field(Field::NhiKind) {
                Value::Absent => false,
                kind => kind.text() != Some("person"),
            },
            Ask::Suppress | Ask::NotAnAlert => {
                let limits = self.layers().iter().filter_map(|layer| layer.suppress.as_ref());
                let mut narrowing = limits.filter(|limits| !limits.never_severity.is_empty());
                !narrowing.any(|limits| match severity.text() {
                    Some(text) => {
                        text == OTHER || limits.never_severity.iter().any(|never| never == text)
                    }
                    None => *severity == Value::Absent && *self.ask == Ask::Suppress,
                })
            }
        }
    }

    /// The first row of each layer that allows it, with what these oblige to.
    fn allowed(&self, world: &World) -> Option<(Vec<String>, Obligations)> {
        let mut labels = Vec::new();
        let mut obligations = Obligations::default();
        for layer in self.layers() {
            if matches!(self.ask, Ask::Action(_)) {
                obligations = obligations.and(&layer.obligations);
            }
            let Some(rows) = self.rows(layer) else { continue };
            let fits = |row: &&&Allow| {
                lists(layer, row).iter().all(|(slot, list)| match (slot, list) {
                    (_, None) => true,
                    (Some(slot), Some(list)) => {
                        let value = world.read(*slot);
                        value.text().is_some_and(|text| list.iter().any(|each| each == text))
                    }
                    (None, Some(_)) => false,
                })
            };
            let row = rows.iter().find(fits)?;
            labels.push(format!("{}/{}", layer.name, row.id));
            obligations = obligations.and(&row.obligations);
        }
        Some((labels, obligations))
    }

    /// What every layer asks for beside its denials; nothing where it refuses at once.
    fn needs(&self, world: &World) -> Option<BTreeSet<Need>> {
        let mut needs = BTreeSet::new();
        for layer in self.layers() {
            for entry in &layer.protected {
                needs.extend(entry.nhi.iter().cloned().map(Need::NotNhi));
                needs.extend(entry.credential.iter().cloned().map(Need::NotCredential));
            }
            if let Some(require) = self.require(layer) {
                for (fact, max_age_ms) in &require.facts {
                    if world.is_fixed(fact.slot) && !world.read(fact.slot).is_present() {
                        return None;
                    }
                    let (path, max_age_ms) = (fact.path.clone(), *max_age_ms);
                    needs.insert(Need::Fact { path, max_age_ms });
                }
                needs.extend((require.sources > 0).then_some(Need::Sources(require.sources)));
            }
            let hours = match self.ask {
                Ask::Action(_) => &layer.escalate_hours,
                Ask::Suppress | Ask::NotAnAlert => &layer.suppress_hours,
            };
            needs.extend(hours.iter().map(|hours| Need::RuledIn(hours.text.clone())));
            if !matches!(self.ask, Ask::Action(_)) {
                match &layer.suppress {
                    Some(limits) => {
                        needs.insert(Need::Expires { max_ms: limits.max_expires_ms });
                    }
                    None if layer.is_base => return None,
                    None => {}
                }
            }
        }
        needs.extend(self.fresh());
        Some(strictest(needs))
    }

    /// Ages that the boundary sets for what it reads itself.
    fn fresh(&self) -> Vec<Need> {
        let read = self.read_facts();
        let ages = self.bounds.boundary.max_age_ms.iter().enumerate();
        let shapes = &self.bounds.schema.enrichers;
        ages.filter_map(|(index, age)| {
            let is_read = read.iter().any(|(slot, _, _)| enricher_of(*slot) == Some(index));
            let enricher = shapes.get(index)?.name.to_string();
            age.filter(|_| is_read).map(|max_age_ms| Need::Fresh { enricher, max_age_ms })
        })
        .collect()
    }

    /// Every fact that is read for this, with its name and type.
    fn read_facts(&self) -> Vec<(Slot, String, Type)> {
        let mut found: Vec<(Slot, String, Type)> = Vec::new();
        let mut add = |slot: Slot, path: &str| {
            let of = self.bounds.schema.fact(path).map_or(Type::Text, |(_, of)| of);
            let is_new = found.iter().all(|(each, _, _)| *each != slot);
            if enricher_of(slot).is_some() && is_new {
                found.push((slot, path.to_owned(), of));
            }
        };
        for clause in self.denials.iter().flat_map(|deny| deny.when.clauses()) {
            clause.names().iter().for_each(|name| add(name.slot, &name.path));
        }
        for layer in self.layers() {
            let required = self.require(layer).into_iter().flat_map(|require| &require.facts);
            required.for_each(|(fact, _)| add(fact.slot, &fact.path));
            let rows = self.rows(layer).unwrap_or_default();
            let asks = |list: fn(&Allow) -> &Option<Vec<String>>| {
                rows.iter().any(|row| list(row).is_some())
            };
            let environment = layer.environment.iter().filter(|_| asks(|row| &row.environments));
            let tier = layer.tier.iter().filter(|_| asks(|row| &row.tiers));
            environment.chain(tier).for_each(|fact| add(fact.slot, &fact.path));
        }
        found
    }

    /// For each fact that is not listed, the states in which nothing surely stands against it.
    /// Nothing at all: there is a fact of which no state would do.
    fn facts(
        &self,
        world: &World,
        axes: &Axes,
        undecided: &[&Deny],
    ) -> Option<BTreeMap<String, Vec<String>>> {
        let mut states = BTreeMap::new();
        for (slot, path, of) in self.read_facts() {
            if axes.0.iter().any(|axis| axis.slot == slot) {
                continue;
            }
            let required = |layer| self.require(layer).into_iter().flat_map(|r| &r.facts);
            let is_required =
                self.layers().iter().flat_map(required).any(|(fact, _)| fact.slot == slot);
            let all = states_of(slot, of, undecided);
            let count = all.len();
            let allowed: Vec<String> = all
                .into_iter()
                .filter(|(_, value)| !is_required || value.as_ref().is_none_or(Value::is_present))
                .filter(|(_, value)| {
                    let Some(value) = value else { return true };
                    let mut world = world.clone();
                    world.fix(slot, value.clone());
                    undecided.iter().all(|deny| world.stands(&deny.when) != Stands::Yes)
                })
                .map(|(name, _)| name)
                .collect();
            if allowed.is_empty() {
                return None;
            }
            if allowed.len() < count {
                states.insert(path, allowed);
            }
        }
        Some(states)
    }
}

/// Each with a value to try; nothing stands for any value there is.
fn states_of(slot: Slot, of: Type, denials: &[&Deny]) -> Vec<(String, Option<Value<'static>>)> {
    let listed: Option<Vec<String>> = denials
        .iter()
        .map(|deny| texts_of(&deny.when, slot))
        .try_fold(Vec::new(), |mut all, texts| {
            all.extend(texts?);
            Some(all)
        });
    let mut states: Vec<(String, Option<Value<'static>>)> = match (of, listed) {
        (Type::Bool, _) => [true, false]
            .into_iter()
            .map(|flag| (flag.to_string(), Some(Value::Bool(flag))))
            .collect(),
        (Type::Text, Some(mut texts)) => {
            texts.sort_unstable();
            texts.dedup();
            let name = if texts.is_empty() { "known" } else { "(any other)" };
            let text = |text: &str| Some(Value::Text(text.to_owned().into()));
            let told = texts.iter().map(|each| (each.clone(), text(each)));
            told.chain([(name.to_owned(), text(OTHER))]).collect()
        }
        _ => vec![("known".to_owned(), None)],
    };
    states.push(("(absent)".to_owned(), Some(Value::Absent)));
    states.push(("(unknown)".to_owned(), Some(Value::Unknown(Why::Error))));
    states
}

fn enricher_of(slot: Slot) -> Option<usize> {
    match slot {
        Slot::Fact { enricher, .. } => Some(enricher),
        Slot::Field(_) | Slot::Seen | Slot::FirstSeen | Slot::Now => None,
    }
}

fn names(condition: &Condition, slot: Slot) -> bool {
    condition.clauses().iter().any(|clause| clause.names().iter().any(|name| name.slot == slot))
}

/// The lists of a row, each with what it is about.
fn lists<'l>(layer: &Layer, row: &'l Allow) -> [(Option<Slot>, &'l Option<Vec<String>>); 4] {
    [
        (layer.environment.as_ref().map(|fact| fact.slot), &row.environments),
        (layer.tier.as_ref().map(|fact| fact.slot), &row.tiers),
        (Some(Slot::Field(Field::NhiKind)), &row.nhi_kinds),
        (Some(Slot::Field(Field::Kind)), &row.kinds),
    ]
}

fn of_obligations(obligations: &Obligations) -> Vec<Need> {
    let roles = obligations.approvals.iter();
    let mut needs: Vec<Need> =
        roles.map(|(role, count)| Need::Approvals { role: role.clone(), count: *count }).collect();
    needs.extend(obligations.per_hour.map(Need::PerHour));
    needs.extend(obligations.per_owner.map(Need::PerOwner));
    needs.extend(obligations.share_percent.map(Need::SharePercent));
    needs.extend(obligations.hours.iter().map(|hours| Need::DoneIn(hours.text.clone())));
    needs.extend(obligations.change_ticket.then_some(Need::ChangeTicket));
    needs
}

/// Of several needs of one subject, the one that holds the others.
fn strictest(needs: BTreeSet<Need>) -> BTreeSet<Need> {
    let is_held = |need: &&Need| needs.iter().any(|other| other != *need && other.implies(need));
    needs.iter().filter(|need| !is_held(need)).cloned().collect()
}
