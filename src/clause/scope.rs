use crate::case::{Alert, Counters, FactRow, FactState, Facts, Millis, Value, Why};

use super::Slot;

/// Everything a condition may see.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'s> {
    pub alert: &'s Alert<'s>,
    pub facts: &'s Facts,
    pub counters: Option<&'s Counters>,
    pub now: Millis,
    /// By enricher; nothing where no age was declared.
    pub max_age_ms: &'s [Option<i64>],
}

impl<'s> Scope<'s> {
    pub fn read(&self, slot: Slot) -> Value<'s> {
        match slot {
            Slot::Field(field) => self.alert.get(field).borrowed(),
            Slot::Fact { enricher, field } => self.fact(enricher, field),
            Slot::Seen => self.counter(|counters| Value::Int(counters.seen)),
            Slot::FirstSeen => self.counter(|counters| Value::Time(counters.first_seen)),
        }
    }

    /// A fact that nobody looked up is unknown, not absent: fails toward people.
    fn fact(&self, enricher: usize, field: usize) -> Value<'s> {
        let Some(Some(row)) = self.facts.get(enricher) else { return Value::Unknown(Why::Error) };
        if let FactState::Unknown(why) = row.state {
            return Value::Unknown(why);
        }
        if let Some(max_age_ms) = self.max_age_ms.get(enricher).copied().flatten()
            && !is_fresh(row.as_of, self.now, max_age_ms)
        {
            return Value::Unknown(Why::Stale);
        }
        match row.state {
            FactState::Known => row.values.get(field).map_or(Value::Absent, Value::borrowed),
            FactState::Absent | FactState::Unknown(_) => Value::Absent,
        }
    }

    /// The answer a fact comes from.
    pub fn row(&self, slot: Slot) -> Option<&'s FactRow> {
        match slot {
            Slot::Fact { enricher, .. } => self.facts.get(enricher)?.as_deref(),
            Slot::Field(_) | Slot::Seen | Slot::FirstSeen => None,
        }
    }

    /// Whether the answer is there and no older than this.
    pub fn is_fresh(&self, slot: Slot, max_age_ms: i64) -> bool {
        self.row(slot).is_some_and(|row| is_fresh(row.as_of, self.now, max_age_ms))
    }

    /// INVARIANT (INV-11): without its grouping key an alert has no counters to be ruled by.
    fn counter(&self, read: impl Fn(&Counters) -> Value<'s>) -> Value<'s> {
        match self.counters {
            Some(counters) if counters.group.is_some() => read(counters),
            Some(_) => Value::Absent,
            None => Value::Unknown(Why::Error),
        }
    }
}

/// A fact from the future is as doubtful as an old one; one without a time is never fresh.
fn is_fresh(as_of: Option<Millis>, now: Millis, max_age_ms: i64) -> bool {
    as_of.is_some_and(|as_of| now.since(as_of).saturating_abs() <= max_age_ms)
}
