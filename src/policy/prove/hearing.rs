use std::collections::{BTreeMap, BTreeSet};

use crate::case::{Field, Type, Value, Why};
use crate::clause::Slot;
use crate::policy::{Allow, Deny, Layer, Obligations, may_be_person};

use super::Need;
use super::axes::{At, Axes};
use super::judge::{Ask, Judge, lists, names};
use super::rows::Reach;
use super::vocabulary::texts_of;
use super::world::{Stands, World};

/// One judge before all points that are tried; what is the same at each is worked out once.
pub(super) struct Hearing<'j, 'b> {
    judge: &'j Judge<'b>,
    axes: &'j Axes,
    /// By axis; nothing for a fact that this boundary's schema does not have.
    slots: Vec<Option<Slot>>,
    nothing: World,
    /// Of each layer that narrows what may be asked for, the rows that are about it.
    rows: Vec<(&'b Layer, Vec<&'b Allow>)>,
    /// Facts that must be known.
    required: Vec<Slot>,
    /// Beside those on the axes.
    facts: Vec<(Slot, String, Type)>,
    /// What every layer asks for beside its denials; nothing where one refuses at once.
    needs: Option<BTreeSet<Need>>,
}

/// A text that no file holds, for any that is not listed.
const OTHER: &str = "\u{0}other";

impl<'j, 'b> Hearing<'j, 'b> {
    pub(super) fn new(judge: &'j Judge<'b>, axes: &'j Axes) -> Self {
        let slots: Vec<Option<Slot>> = axes.0.iter().map(|axis| judge.slot(&axis.path)).collect();
        let layers = judge.layers().iter();
        let rows = layers.clone().filter_map(|layer| Some((layer, judge.rows(layer)?))).collect();
        let required = layers.filter_map(|layer| judge.require(layer));
        let required = required.flat_map(|require| &require.facts).map(|(fact, _)| fact.slot);
        let read = read_facts(judge);
        let needs = needs(judge, &read);
        let is_listed = |slot: Slot| slots.contains(&Some(slot));
        let facts = read.into_iter().filter(|(slot, ..)| !is_listed(*slot)).collect();
        let (nothing, required) = (World::new(judge.bounds.schema), required.collect());
        Self { judge, axes, slots, nothing, rows, required, facts, needs }
    }

    /// How it is reached with these values, if it is at all.
    pub(super) fn reach(&self, point: &[usize]) -> Option<Reach> {
        let mut needs = self.needs.clone()?;
        let world = self.world(point);
        if !self.is_one_of_ours(&world) || !self.has_required(&world) {
            return None;
        }
        let (allowed_by, obligations) = self.allowed(&world)?;
        needs.extend(of_obligations(&obligations));
        let mut undecided: Vec<&Deny> = Vec::new();
        for deny in &self.judge.denials {
            match world.stands(&deny.when) {
                Stands::No => {}
                Stands::Maybe => undecided.push(deny),
                Stands::Yes => return None,
            }
        }
        needs.extend(undecided.iter().map(|deny| Need::Not(deny.text.clone())));
        let facts = self.states(&world, &undecided)?;
        Some(Reach { needs, facts, allowed_by })
    }

    fn world(&self, point: &[usize]) -> World {
        let mut world = self.nothing.clone();
        for ((axis, at), slot) in self.axes.at(point).zip(&self.slots) {
            let Some(slot) = *slot else { continue };
            match at {
                At::Other if axis.is_open => {}
                At::Other => world.fix(slot, Value::Text(OTHER.into())),
                At::Text(text) => world.fix(slot, Value::Text(text.clone().into())),
                At::Absent => world.fix(slot, Value::Absent),
                At::Unknown => world.fix(slot, Value::Unknown(Why::Error)),
            }
        }
        world
    }

    fn has_required(&self, world: &World) -> bool {
        let is_there = |slot: &Slot| !world.is_fixed(*slot) || world.read(*slot).is_present();
        self.required.iter().all(is_there)
    }

    /// What holds without a line in any file.
    fn is_one_of_ours(&self, world: &World) -> bool {
        let severity = world.field(Field::Severity);
        match self.judge.ask {
            Ask::Action(_) => !may_be_person(world.field(Field::NhiKind).text()),
            Ask::Suppress | Ask::NotAnAlert => {
                let limits = self.judge.layers().iter().filter_map(|layer| layer.suppress.as_ref());
                let mut narrowing = limits.filter(|limits| !limits.never_severity.is_empty());
                !narrowing.any(|limits| match severity.text() {
                    Some(text) => {
                        text == OTHER || limits.never_severity.iter().any(|never| never == text)
                    }
                    None => *severity == Value::Absent && *self.judge.ask == Ask::Suppress,
                })
            }
        }
    }

    /// The first row of each layer that allows it, with what these oblige to.
    fn allowed(&self, world: &World) -> Option<(Vec<String>, Obligations)> {
        let mut labels = Vec::new();
        let mut obligations = Obligations::default();
        if matches!(self.judge.ask, Ask::Action(_)) {
            let layers = self.judge.layers().iter();
            obligations = layers.fold(obligations, |all, layer| all.and(&layer.obligations));
        }
        for (layer, rows) in &self.rows {
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

    /// For each fact that is not listed, the states in which nothing surely stands against it.
    /// Nothing at all: there is a fact of which no state would do.
    fn states(&self, world: &World, undecided: &[&Deny]) -> Option<BTreeMap<String, Vec<String>>> {
        let mut states = BTreeMap::new();
        for (slot, path, of) in &self.facts {
            let is_required = self.required.contains(slot);
            if !is_required && !undecided.iter().any(|deny| names(&deny.when, *slot)) {
                continue;
            }
            let all = states_of(*slot, *of, undecided);
            let count = all.len();
            let allowed: Vec<String> = all
                .into_iter()
                .filter(|(_, value)| !is_required || value.as_ref().is_none_or(Value::is_present))
                .filter(|(_, value)| {
                    let Some(value) = value else { return true };
                    let mut world = world.clone();
                    world.fix(*slot, value.clone());
                    undecided.iter().all(|deny| world.stands(&deny.when) != Stands::Yes)
                })
                .map(|(name, _)| name)
                .collect();
            if allowed.is_empty() {
                return None;
            }
            if allowed.len() < count {
                states.insert(path.clone(), allowed);
            }
        }
        Some(states)
    }
}

/// What every layer asks for beside its denials; nothing where it refuses at once.
fn needs(judge: &Judge<'_>, read: &[(Slot, String, Type)]) -> Option<BTreeSet<Need>> {
    let mut needs = BTreeSet::new();
    let is_suppression = !matches!(judge.ask, Ask::Action(_));
    for layer in judge.layers() {
        if layer.stop || (is_suppression && layer.is_base && layer.suppress.is_none()) {
            return None;
        }
        for entry in &layer.protected {
            needs.extend(entry.nhi.iter().cloned().map(Need::NotNhi));
            needs.extend(entry.credential.iter().cloned().map(Need::NotCredential));
        }
        if let Some(require) = judge.require(layer) {
            needs.extend(require.facts.iter().map(|(fact, max_age_ms)| Need::Fact {
                path: fact.path.clone(),
                max_age_ms: *max_age_ms,
            }));
            needs.extend((require.sources > 0).then_some(Need::Sources(require.sources)));
        }
        let hours = if is_suppression { &layer.suppress_hours } else { &layer.escalate_hours };
        needs.extend(hours.iter().map(|hours| Need::RuledIn(hours.text.clone())));
        let limits = layer.suppress.iter().filter(|_| is_suppression);
        for limits in limits {
            needs.insert(Need::Expires { max_ms: limits.max_expires_ms });
            // What pipelines suppress is nobody's budget.
            let per_hour = limits.per_hour.filter(|_| *judge.ask != Ask::NotAnAlert);
            needs.extend(per_hour.map(Need::SuppressedPerHour));
        }
    }
    needs.extend(fresh(judge, read));
    Some(strictest(needs))
}

/// Ages that the boundary sets for what it reads itself.
fn fresh(judge: &Judge<'_>, read: &[(Slot, String, Type)]) -> Vec<Need> {
    let ages = judge.bounds.boundary.max_age_ms.iter().enumerate();
    let shapes = &judge.bounds.schema.enrichers;
    ages.filter_map(|(index, age)| {
        let is_read = read.iter().any(|(slot, ..)| slot.enricher() == Some(index));
        let enricher = shapes.get(index)?.name.to_string();
        age.filter(|_| is_read).map(|max_age_ms| Need::Fresh { enricher, max_age_ms })
    })
    .collect()
}

/// Every fact that is read for this, with its name and type.
fn read_facts(judge: &Judge<'_>) -> Vec<(Slot, String, Type)> {
    let mut found: Vec<(Slot, String, Type)> = Vec::new();
    let mut add = |slot: Slot, path: &str| {
        let of = judge.bounds.schema.fact(path).map_or(Type::Text, |(_, of)| of);
        let is_new = found.iter().all(|(each, ..)| *each != slot);
        if slot.enricher().is_some() && is_new {
            found.push((slot, path.to_owned(), of));
        }
    };
    for clause in judge.denials.iter().flat_map(|deny| deny.when.clauses()) {
        clause.names().iter().for_each(|name| add(name.slot, &name.path));
    }
    for layer in judge.layers() {
        let required = judge.require(layer).into_iter().flat_map(|require| &require.facts);
        required.for_each(|(fact, _)| add(fact.slot, &fact.path));
        let rows = judge.rows(layer).unwrap_or_default();
        let asks =
            |list: fn(&Allow) -> &Option<Vec<String>>| rows.iter().any(|row| list(row).is_some());
        let environment = layer.environment.iter().filter(|_| asks(|row| &row.environments));
        let tier = layer.tier.iter().filter(|_| asks(|row| &row.tiers));
        environment.chain(tier).for_each(|fact| add(fact.slot, &fact.path));
    }
    found
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
