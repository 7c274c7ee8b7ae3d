use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use crate::audit::{Raw, Record};
use crate::case::{
    Alert, Arrival, Body, Counters, EnricherShape, FactRow, FactState, Millis, Origin, Revised,
    Ruling, Type, Unreadable, Value, Why,
};
use crate::clause::Schema;
use crate::decide::Inputs;
use crate::policy::Policy;

/// Everything that one ruling was made with, read back from its record.
#[derive(Debug)]
pub struct Recalled<'r> {
    pub arrival: Arrival<'r>,
    pub counters: Counters,
    pub now: Millis,
    /// There when it was ruled again.
    pub revised: Option<Revised<'r>>,
    pub facts: Vec<Option<Arc<FactRow>>>,
    /// Enrichers that the policy wants for this alert and the record does not hold, or not whole.
    pub unrecorded: Vec<usize>,
}

impl<'r> Recalled<'r> {
    pub fn inputs(&self) -> Inputs<'_> {
        Inputs {
            arrival: &self.arrival,
            facts: &self.facts,
            counters: &self.counters,
            now: self.now,
        }
    }

    /// The alert, if it could be read.
    pub fn alert(&self) -> Option<&Alert<'r>> {
        self.arrival.body.alert()
    }
}

/// LIMIT: rows that are kept because the next records hold the same.
const KEPT_MAX: usize = 8192;

/// Reads records back for one policy. Equal rows are read once.
pub struct Recaller<'p> {
    policy: &'p Policy,
    /// Policies that records may be made by, and the rows that were read for each. What the
    /// enrichers gave under any other is taken to be what they give under the first.
    known: Vec<(&'p str, &'p Schema, Kept)>,
    nothing: Vec<Arc<FactRow>>,
}

/// Rows by their text, with the index of their enricher.
type Kept = HashMap<Box<str>, Option<(usize, Arc<FactRow>)>>;

impl<'p> Recaller<'p> {
    pub fn new(policy: &'p Policy, known: &[&'p Policy]) -> Self {
        let nothing = policy.schema().enrichers.iter().map(unrecorded).collect();
        let known = known.iter().map(|by| (&*by.hash, by.schema(), Kept::new())).collect();
        Self { policy, known, nothing }
    }

    /// Where the policy of a record stands among the known ones.
    fn made_by(&self, record: &Record<'_>) -> Option<usize> {
        let hash = &*record.policy.as_ref()?.hash;
        self.known.iter().position(|(known, ..)| *known == hash)
    }

    pub fn is_foreign(&self, record: &Record<'_>) -> bool {
        self.made_by(record).is_none()
    }

    /// Nothing when the record holds no ruling about an arrival.
    pub fn recall<'r>(&mut self, record: &Record<'r>) -> Option<Recalled<'r>> {
        let arrival = arrival(record)?;
        let counters = record.counters.as_deref()?.clone();
        let made_by = self.made_by(record).unwrap_or(0);
        let mut facts = vec![None; self.nothing.len()];
        for raw in &record.facts {
            let Some((index, row)) = self.row(raw, made_by) else { continue };
            if let Some(slot) = facts.get_mut(index) {
                *slot = Some(row);
            }
        }
        let mut recalled = Recalled {
            arrival,
            counters,
            now: record.at,
            revised: record.revised.clone(),
            facts: Vec::new(),
            unrecorded: Vec::new(),
        };
        let wanted = recalled.alert().map(|alert| self.policy.wanted(alert)).unwrap_or_default();
        let mut missing = Vec::new();
        for index in wanted {
            let Some(slot) = facts.get_mut(*index) else { continue };
            if slot.is_none() {
                *slot = self.nothing.get(*index).map(Arc::clone);
            }
            if slot.as_deref().is_some_and(is_open) {
                missing.push(*index);
            }
        }
        (recalled.facts, recalled.unrecorded) = (facts, missing);
        Some(recalled)
    }

    /// Its enricher's index under this policy; nothing when it has none of this name.
    fn row(&mut self, raw: &Raw<'_>, made_by: usize) -> Option<(usize, Arc<FactRow>)> {
        let (_, recorded, kept) = self.known.get_mut(made_by)?;
        if let Some(kept) = kept.get(raw.0.get()) {
            return kept.clone();
        }
        let read = read(self.policy.schema(), recorded, raw);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(raw.0.get().into(), read.clone());
        read
    }
}

fn read(schema: &Schema, recorded: &Schema, raw: &Raw<'_>) -> Option<(usize, Arc<FactRow>)> {
    let mut shapes = schema.enrichers.iter().enumerate();
    let (index, shape) = shapes.find(|(_, shape)| names(raw, &shape.name))?;
    let recorded = recorded.enricher(&shape.name).map_or(shape, |(_, shape)| shape);
    Some((
        index,
        match FactRow::read(raw.0, recorded) {
            Some(row) if recorded == shape => Arc::new(row),
            Some(row) => Arc::new(given(&row, recorded, shape)),
            // Written by yet another configuration: nobody knows what it did not say.
            None => unrecorded(shape),
        },
    ))
}

/// Rows begin with their enricher's name, which needs no escape.
fn names(raw: &Raw<'_>, enricher: &str) -> bool {
    let rest = raw.0.get().strip_prefix("{\"enricher\":\"");
    rest.and_then(|rest| rest.strip_prefix(enricher)).is_some_and(|rest| rest.starts_with('"'))
}

fn is_open(row: &FactRow) -> bool {
    let open = Value::Unknown(Why::NotRecorded);
    row.state == FactState::Unknown(Why::NotRecorded) || row.values.contains(&open)
}

fn unrecorded(shape: &EnricherShape) -> Arc<FactRow> {
    let names = (shape.name.clone(), "".into(), "".into());
    let state = FactState::Unknown(Why::NotRecorded);
    Arc::new(FactRow::new(names, "", None, state, (&shape.provides, Vec::new())))
}

/// The same answer as another shape of its enricher shows it. A field that was not given then is
/// not absent: nobody asked.
fn given(row: &FactRow, recorded: &EnricherShape, shape: &EnricherShape) -> FactRow {
    let value = |wanted: &(String, Type)| {
        let index = recorded.provides.iter().position(|given| given == wanted);
        index.map_or(Value::Unknown(Why::NotRecorded), |index| {
            row.values.get(index).cloned().unwrap_or_default()
        })
    };
    let values = match row.state {
        FactState::Known => shape.provides.iter().map(value).collect(),
        FactState::Absent | FactState::Unknown(_) => Vec::new(),
    };
    let names = (shape.name.clone(), row.source.clone(), row.version.clone());
    let again = FactRow::new(names, &row.key, row.as_of, row.state, (&shape.provides, values));
    match (row.cache, row.detail.as_deref()) {
        (None, None) => again,
        (cache, detail) => again.told(cache, detail),
    }
}

fn arrival<'r>(record: &Record<'r>) -> Option<Arrival<'r>> {
    let decision = record.ruling.as_deref()?;
    let body = match (&record.alert, &decision.fate) {
        (Some(alert), _) => Body::Alert(Box::new(alert.as_ref().clone())),
        (None, Ruling::DeadLetter(unreadable)) => Body::Unreadable(Unreadable {
            detail: unreadable.detail.clone(),
            fingerprint: unreadable.fingerprint.clone(),
            ..*unreadable
        }),
        (None, _) => return None,
    };
    Some(Arrival {
        alert_id: record.alert_id.clone()?,
        correlation_id: record.correlation_id.clone()?,
        origin: match record.origin.as_deref() {
            Some(origin) => origin.clone(),
            None => nowhere(),
        },
        pipeline: record.pipeline.clone().unwrap_or_default(),
        body,
    })
}

/// Of what was no alert of intake's, and has no other place than its record.
fn nowhere() -> Origin<'static> {
    Origin {
        topic: Cow::Borrowed("-"),
        incarnation: Cow::Borrowed("-"),
        partition: 0,
        offset: 0,
        index: 0,
        of: 1,
        sha256: Cow::Borrowed(""),
    }
}
