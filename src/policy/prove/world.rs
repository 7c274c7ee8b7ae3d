use std::sync::Arc;

use crate::case::{Alert, FIELDS, FactRow, FactState, Facts, Field, Millis, Tri, Value, Why};
use crate::clause::{Clause, Condition, Part, Schema, Scope, Slot};

/// Everything a condition may see, unknown but for what was fixed.
#[derive(Clone)]
pub(super) struct World {
    alert: Alert<'static>,
    facts: Vec<Option<Arc<FactRow>>>,
    fixed: Vec<Slot>,
}

/// Whether a denial stands against something, at some combination of values: it is true or unknown.
/// In this order: a list stands as its weakest part does, alternatives as their strongest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stands {
    No,
    /// It rests on values that are not fixed.
    Maybe,
    Yes,
}

/// At no time: conditions see it only beside a time that is unknown.
const NOW: Millis = Millis(0);

impl World {
    pub(super) fn new(schema: &Schema) -> Self {
        let unknown = || Value::Unknown(Why::Error);
        let mut alert = Alert::default();
        FIELDS.iter().for_each(|info| alert.set(info.field, unknown()));
        let row = |shape: &crate::case::EnricherShape| {
            let names = (shape.name.clone(), Arc::from(""), Arc::from(""));
            let values = shape.provides.iter().map(|_| unknown()).collect();
            let given = (&*shape.provides, values);
            Some(Arc::new(FactRow::new(names, "", Some(NOW), FactState::Known, given)))
        };
        Self { alert, facts: schema.enrichers.iter().map(row).collect(), fixed: Vec::new() }
    }

    pub(super) fn fix(&mut self, slot: Slot, value: Value<'static>) {
        self.fixed.push(slot);
        match slot {
            Slot::Field(field) => self.alert.set(field, value),
            Slot::Fact { enricher, field } => {
                let Some(Some(row)) = self.facts.get_mut(enricher) else { return };
                if let Some(place) = Arc::make_mut(row).values.get_mut(field) {
                    *place = value;
                }
            }
            Slot::Seen | Slot::FirstSeen | Slot::Window { .. } | Slot::Now => {}
        }
    }

    pub(super) fn is_fixed(&self, slot: Slot) -> bool {
        self.fixed.contains(&slot)
    }

    pub(super) fn field(&self, field: Field) -> &Value<'static> {
        self.alert.get(field)
    }

    pub(super) fn read(&self, slot: Slot) -> Value<'_> {
        self.scope(&self.facts).read(slot)
    }

    fn scope<'w>(&'w self, facts: &'w Facts) -> Scope<'w> {
        Scope { alert: &self.alert, facts, counters: None, now: NOW, max_age_ms: &[] }
    }

    /// What is unknown for the sake of fixed values alone stays so, and denies.
    pub(super) fn stands(&self, condition: &Condition) -> Stands {
        self.part(condition.root(), &self.scope(&self.facts))
    }

    fn part(&self, part: &Part, scope: &Scope<'_>) -> Stands {
        let of = |part| self.part(part, scope);
        match part {
            Part::Clause(clause) => self.clause(clause, scope),
            Part::All(parts) => parts.iter().map(of).min().unwrap_or(Stands::Yes),
            Part::Any(parts) => parts.iter().map(of).max().unwrap_or(Stands::No),
        }
    }

    fn clause(&self, clause: &Clause, scope: &Scope<'_>) -> Stands {
        let mut names = clause.names().iter().map(|name| name.slot);
        // INVARIANT (INV-5): true and false are so whatever the open values turn out to be, but not
        // of a time that is none, and not where a test asks whether something is unknown.
        if clause.asks_for_unknown() || names.clone().any(|slot| slot == Slot::Now) {
            return Stands::Maybe;
        }
        match clause.eval(scope) {
            Tri::False => Stands::No,
            Tri::True => Stands::Yes,
            Tri::Unknown if names.all(|slot| self.is_fixed(slot)) => Stands::Yes,
            Tri::Unknown => Stands::Maybe,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::case::{EnricherShape, Type};
    use crate::text::{Problems, Source, read};

    /// Of a denial, where the tier is fixed and nothing else is.
    fn stands(tier: &Value<'static>, when: &str) -> Stands {
        let provides = vec![("tier".to_owned(), Type::Text), ("live".to_owned(), Type::Bool)];
        let enrichers = vec![EnricherShape { name: "owner".into(), provides }];
        let schema = Schema { enrichers, ..Schema::default() };
        let (source, mut problems) = (Source::new("f.yaml", when), Problems::default());
        let node = read(&source, &mut problems).unwrap();
        let condition = Condition::read(&node, &source, &schema, &mut problems).unwrap();
        let mut world = World::new(&schema);
        world.fix(schema.fact("owner.tier").unwrap().0, tier.clone());
        world.stands(&condition)
    }

    #[test]
    fn what_time_or_knowledge_can_undo_is_neither_sure_to_deny_nor_sure_not_to() {
        let (core, other) = (Value::Text("0".into()), Value::Text("1".into()));
        let (unknown, late) =
            (Value::Unknown(Why::Error), "now > timestamp(\"2026-01-01T00:00:00Z\")");
        for (tier, when, expected) in [
            (&core, "'owner.tier == \"0\"'".to_owned(), Stands::Yes),
            (&other, "'owner.tier == \"0\"'".to_owned(), Stands::No),
            (&unknown, "'owner.tier == \"0\"'".to_owned(), Stands::Yes),
            (&unknown, "'owner.live'".to_owned(), Stands::Maybe),
            (&unknown, format!("'owner.tier == \"0\" && {late}'"), Stands::Maybe),
            (&unknown, format!("'owner.tier == \"0\" || {late}'"), Stands::Maybe),
            (&unknown, format!("['owner.tier == \"0\"', '{late}']"), Stands::Maybe),
            (&unknown, format!("{{any: ['owner.tier == \"0\"', '{late}']}}"), Stands::Yes),
            (&unknown, format!("{{not: '{late}'}}"), Stands::Maybe),
            (&other, format!("['owner.tier == \"0\"', '{late}']"), Stands::No),
            (&core, "'unknown(owner.live)'".to_owned(), Stands::Maybe),
            (&core, "'!unknown(owner.live)'".to_owned(), Stands::Maybe),
            (&core, "'unknown(owner.tier)'".to_owned(), Stands::Maybe),
            (&unknown, "'unknown(owner.tier, \"stale\")'".to_owned(), Stands::Maybe),
            (&core, "{not: 'unknown(owner.tier)'}".to_owned(), Stands::Maybe),
        ] {
            assert_eq!(stands(tier, &when), expected, "{tier:?} {when}");
        }
    }
}
