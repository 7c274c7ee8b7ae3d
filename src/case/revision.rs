use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Millis, Priority, Ruling, Why};

/// Why an alert that has its ruling is ruled again. What people have can be raised, enriched or
/// released from a hold by that, never suppressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Again {
    /// An answer came after the batch had to go on.
    LateFact,
    /// A fact that had failed, was stale or contradicted itself is known or known to be absent now.
    Repaired,
    /// It was held as long as it may be.
    HoldOver,
    /// A person ended its hold by a signed order.
    Released,
    /// It was suppressed as long as it may be.
    SuppressionOver,
}

impl Again {
    pub fn code(self) -> &'static str {
        match self {
            Self::LateFact => "late_fact",
            Self::Repaired => "repaired",
            Self::HoldOver => "hold_over",
            Self::Released => "released",
            Self::SuppressionOver => "suppression_over",
        }
    }

    /// For people.
    pub fn about(self) -> &'static str {
        match self {
            Self::LateFact => "a lookup answered after the first ruling",
            Self::Repaired => "a fact that was unknown was repaired",
            Self::HoldOver => "it was held as long as it may be",
            Self::Released => "a person released it from its hold",
            Self::SuppressionOver => "it was suppressed as long as it may be",
        }
    }
}

/// What people have of an alert before it is ruled again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub is_held: bool,
    pub queue: String,
    pub priority: Priority,
    /// Of a hold its end, else when it is to be acknowledged.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub due: Option<Millis>,
    /// Of a hold that a person has ended: it is ruled again at once.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub released: Option<Released>,
}

/// The order that ended a hold, and its record on the chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Released {
    pub order: String,
    pub seq: u64,
}

/// An enricher whose answer may still change a ruling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait<'a> {
    #[serde(borrow)]
    pub enricher: Cow<'a, str>,
    pub why: Why,
}

/// What a revision is made with besides what a first ruling is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revised<'a> {
    pub why: Again,
    /// Enrichers whose answers changed.
    #[serde(borrow, skip_serializing_if = "Vec::is_empty", default)]
    pub facts: Vec<Cow<'a, str>>,
    /// Nothing where it was suppressed: people have nothing of it that could be taken from them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub standing: Option<Standing>,
}

impl Standing {
    /// Of a ruling that can be made again; an escalation has its facts, and what is suppressed or
    /// unreadable waits for none.
    pub fn of(fate: &Ruling<'_>) -> Option<Self> {
        let (is_held, queue, priority, due) = match fate {
            Ruling::Route(route) => (false, &route.queue, route.priority, route.ack_by),
            Ruling::Hold(hold) => (true, &hold.queue, hold.priority, Some(hold.until)),
            _ => return None,
        };
        Some(Self { is_held, queue: queue.to_string(), priority, due, released: None })
    }
}
