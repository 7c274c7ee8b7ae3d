use crate::case::{
    Alert, Counters, FactRow, FactState, Facts, Glimpse, Millis, Reading, Value, Why, WindowId,
};

use super::Slot;
use super::view::View;

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
            Slot::Fact { enricher, field } => match self.fact(enricher, field) {
                Ok(value) => value.borrowed(),
                Err(why) => Value::Unknown(why),
            },
            Slot::Now => Value::Time(self.now),
            Slot::Seen => self.counter(|counters| match counters.is_partial {
                true => Value::AtLeast(counters.seen),
                false => Value::Int(counters.seen),
            }),
            Slot::FirstSeen => self.counter(|counters| match counters.is_partial {
                true => Value::Unknown(Why::Forgotten),
                false => Value::Time(counters.first_seen),
            }),
            Slot::Window { id, of } => match self.reading(id) {
                Some(reading) => reading.value(of),
                None => Value::Unknown(Why::NotRecorded),
            },
        }
    }

    /// As `read`, for comparing.
    #[inline]
    pub(super) fn view(&self, slot: Slot) -> View<'s> {
        self.stored(slot).map_or_else(|| self.counted(slot), View::of)
    }

    /// The value where it stands, for reading without a copy; nothing where none is stored.
    #[inline]
    pub(super) fn stored(&self, slot: Slot) -> Option<&'s Value<'s>> {
        match slot {
            Slot::Field(field) => Some(self.alert.get(field)),
            Slot::Fact { enricher, field } => {
                Some(self.fact(enricher, field).unwrap_or(&Value::Unknown(Why::Error)))
            }
            Slot::Now | Slot::Seen | Slot::FirstSeen | Slot::Window { .. } => None,
        }
    }

    /// What is stored nowhere.
    #[inline(never)]
    fn counted(&self, slot: Slot) -> View<'s> {
        match slot {
            Slot::Now => View::Time(self.now.0),
            slot => View::of_copied(&self.read(slot)),
        }
    }

    /// A fact that nobody looked up is unknown, not absent: fails toward people.
    #[inline]
    fn fact(&self, enricher: usize, field: usize) -> Result<&'s Value<'static>, Why> {
        let Some(Some(row)) = self.facts.get(enricher) else { return Err(Why::Error) };
        if let FactState::Unknown(why) = row.state {
            return Err(why);
        }
        if let Some(max_age_ms) = self.max_age_ms.get(enricher).copied().flatten()
            && !row.is_fresh(self.now, max_age_ms)
        {
            return Err(Why::Stale);
        }
        match row.state {
            FactState::Known => Ok(row.values.get(field).unwrap_or(&Value::Absent)),
            FactState::Absent | FactState::Unknown(_) => Ok(&Value::Absent),
        }
    }

    /// The answer a fact comes from.
    pub fn row(&self, slot: Slot) -> Option<&'s FactRow> {
        match slot {
            Slot::Fact { enricher, .. } => self.facts.get(enricher)?.as_deref(),
            Slot::Field(_) | Slot::Seen | Slot::FirstSeen | Slot::Window { .. } | Slot::Now => None,
        }
    }

    fn reading(&self, id: WindowId) -> Option<&'s Reading> {
        self.counters?.windows.iter().find(|reading| reading.window == id)
    }

    /// The window that a value is of.
    pub fn glimpse(&self, slot: Slot) -> Option<&'s Glimpse> {
        match slot {
            Slot::Window { id, .. } => self.reading(id)?.seen.as_ref(),
            _ => None,
        }
    }

    /// Whether the answer is there and no older than this.
    pub fn is_fresh(&self, slot: Slot, max_age_ms: i64) -> bool {
        self.row(slot).is_some_and(|row| row.is_fresh(self.now, max_age_ms))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::case::Type;

    #[test]
    fn only_a_fresh_answer_is_read() {
        let provides = [("fixture".to_owned(), Type::Bool)];
        let read = |as_of: Option<i64>, state, max_age_ms: Option<i64>| {
            let names = ("registry".into(), "table".into(), "1".into());
            let values = vec![Value::Bool(true)];
            let row = FactRow::new(names, "k", as_of.map(Millis), state, (&provides, values));
            let (alert, facts) = (Alert::default(), [Some(Arc::new(row))]);
            let max_age_ms = [max_age_ms];
            let scope = Scope {
                alert: &alert,
                facts: &facts,
                counters: None,
                now: Millis(1000),
                max_age_ms: &max_age_ms,
            };
            scope.read(Slot::Fact { enricher: 0, field: 0 }).into_owned()
        };
        let (known, absent) = (FactState::Known, FactState::Absent);
        let stale = Value::Unknown(Why::Stale);
        assert_eq!(read(Some(900), known, Some(100)), Value::Bool(true));
        assert_eq!(read(Some(899), known, Some(100)), stale);
        assert_eq!(read(Some(1101), known, Some(100)), stale, "from the future");
        assert_eq!(read(None, known, Some(100)), stale);
        assert_eq!(read(None, known, None), Value::Bool(true));
        assert_eq!(read(Some(899), absent, Some(100)), stale, "an old absence is no absence");
        assert_eq!(read(Some(900), absent, Some(100)), Value::Absent);
        let conflict = FactState::Unknown(Why::Conflict);
        assert_eq!(read(None, conflict, Some(100)), Value::Unknown(Why::Conflict));
    }
}
