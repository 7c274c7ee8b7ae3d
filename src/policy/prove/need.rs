use std::fmt;

use serde::{Serialize, Serializer};

use crate::case::duration_text;

/// Something that must hold before a permit is given or used, and that no combination of values
/// decides by itself.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// This fact, known and no older.
    Fact {
        path: String,
        max_age_ms: i64,
    },
    /// Answers of this enricher that are older count as unknown.
    Fresh {
        enricher: String,
        max_age_ms: i64,
    },
    /// This condition of a `deny`, false.
    Not(String),
    /// The NHI is none like this.
    NotNhi(String),
    /// The credential is none like this.
    NotCredential(String),
    /// So many sources of the facts that the rule saw.
    Sources(usize),
    /// Ruled in these hours.
    RuledIn(String),
    /// Suppressed for no longer.
    Expires {
        max_ms: i64,
    },
    /// Of one detector's alerts.
    SuppressedPerHour(i64),
    /// Containment sees to the rest, before it acts.
    Approvals {
        role: String,
        count: i64,
    },
    PerHour(i64),
    PerOwner(i64),
    SharePercent(i64),
    DoneIn(String),
    ChangeTicket,
}

impl Need {
    /// What is meant, without how much of it: two needs of one subject can be compared.
    pub(super) fn subject(&self) -> String {
        match self {
            Self::Fact { path, .. } => format!("fact {path}"),
            Self::Fresh { enricher, .. } => format!("fresh {enricher}"),
            Self::Not(text) => format!("not {text}"),
            Self::NotNhi(pattern) => format!("nhi {pattern}"),
            Self::NotCredential(pattern) => format!("credential {pattern}"),
            Self::Sources(_) => "sources".to_owned(),
            Self::RuledIn(hours) => format!("ruled {hours}"),
            Self::Expires { .. } => "expires".to_owned(),
            Self::SuppressedPerHour(_) => "suppressed per hour".to_owned(),
            Self::Approvals { role, .. } => format!("approvals {role}"),
            Self::PerHour(_) => "per hour".to_owned(),
            Self::PerOwner(_) => "per owner".to_owned(),
            Self::SharePercent(_) => "share".to_owned(),
            Self::DoneIn(hours) => format!("done {hours}"),
            Self::ChangeTicket => "ticket".to_owned(),
        }
    }

    /// Of the same subject, and at least as strict.
    pub(super) fn implies(&self, other: &Self) -> bool {
        self.subject() == other.subject() && self.strictness() >= other.strictness()
    }

    fn strictness(&self) -> i64 {
        match self {
            Self::Fact { max_age_ms, .. } | Self::Fresh { max_age_ms, .. } => -max_age_ms,
            Self::Sources(count) => i64::try_from(*count).unwrap_or(i64::MAX),
            Self::Expires { max_ms } => -max_ms,
            Self::Approvals { count, .. } => *count,
            Self::SuppressedPerHour(limit)
            | Self::PerHour(limit)
            | Self::PerOwner(limit)
            | Self::SharePercent(limit) => -limit,
            Self::Not(_)
            | Self::NotNhi(_)
            | Self::NotCredential(_)
            | Self::RuledIn(_)
            | Self::DoneIn(_)
            | Self::ChangeTicket => 0,
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fact { path, max_age_ms } => {
                write!(f, "{path} known, no older than {}", duration_text(*max_age_ms))
            }
            Self::Fresh { enricher, max_age_ms } => {
                write!(f, "{enricher}.* no older than {}", duration_text(*max_age_ms))
            }
            Self::Not(text) => write!(f, "not: {}", text.replace('\n', " ")),
            Self::NotNhi(pattern) => write!(f, "nhi.id is not like {pattern}"),
            Self::NotCredential(pattern) => write!(f, "the credential is not like {pattern}"),
            Self::Sources(1) => f.write_str("1 source of the facts that the rule saw"),
            Self::Sources(count) => write!(f, "{count} sources of the facts that the rule saw"),
            Self::RuledIn(hours) => write!(f, "ruled {hours} UTC"),
            Self::Expires { max_ms } => write!(f, "for {} at most", duration_text(*max_ms)),
            Self::SuppressedPerHour(limit) => {
                write!(f, "at most {limit} an hour of one detector")
            }
            Self::Approvals { role, count } => write!(f, "approved by {count} {role}"),
            Self::PerHour(limit) => write!(f, "at most {limit} an hour"),
            Self::PerOwner(limit) => write!(f, "at most {limit} of one owner"),
            Self::SharePercent(limit) => write!(f, "at most {limit} % of the known NHIs"),
            Self::DoneIn(hours) => write!(f, "done {hours} UTC"),
            Self::ChangeTicket => f.write_str("a change ticket"),
        }
    }
}

impl Serialize for Need {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
