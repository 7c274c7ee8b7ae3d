use std::sync::Arc;

use crate::case::{Alert, FIELDS, FactRow, FactState, Facts, Field, Millis, Tri, Value, Why};
use crate::clause::{Condition, Schema, Scope, Slot};

/// Everything a condition may see, unknown but for what was fixed.
#[derive(Clone)]
pub(super) struct World {
    alert: Alert<'static>,
    facts: Vec<Option<Arc<FactRow>>>,
    fixed: Vec<Slot>,
}

/// Whether a denial stands against something, at some combination of values.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stands {
    No,
    Yes,
    /// It rests on values that are not fixed.
    Maybe,
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
            Slot::Seen | Slot::FirstSeen | Slot::Now => {}
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

    /// True and false are so whatever the unknown turns out to be. What is unknown for the sake of
    /// fixed values alone stays so, and denies.
    pub(super) fn stands(&self, condition: &Condition) -> Stands {
        let scope = self.scope(&self.facts);
        if rests_on_now(condition, &scope) {
            return Stands::Maybe;
        }
        match condition.eval(&scope) {
            Tri::False => Stands::No,
            Tri::True => Stands::Yes,
            Tri::Unknown => {
                let mut names = condition.unknowns(&scope).into_iter();
                let is_open = names.any(|name| !self.is_fixed(name.slot));
                if is_open { Stands::Maybe } else { Stands::Yes }
            }
        }
    }
}

/// Whether a clause that names `now` was decided, perhaps by the time that is none.
fn rests_on_now(condition: &Condition, scope: &Scope<'_>) -> bool {
    let clauses = condition.clauses();
    let mut decided = clauses.iter().filter(|clause| clause.eval(scope) != Tri::Unknown);
    decided.any(|clause| clause.names().iter().any(|name| name.slot == Slot::Now))
}
