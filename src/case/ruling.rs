use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Id, Millis, Reason, Tri, Unreadable};

type Text<'a> = Cow<'a, str>;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    Low,
    Medium,
    High,
    Critical,
}

impl Priority {
    pub const ALL: [Self; 4] = [Self::Low, Self::Medium, Self::High, Self::Critical];

    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// One step up.
    pub fn raised(self) -> Self {
        match self {
            Self::Low => Self::Medium,
            Self::Medium => Self::High,
            Self::High | Self::Critical => Self::Critical,
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|each| each.name() == name)
    }
}

/// The fate of one alert and everything it rests on (INV-3). `fate` says what, the rest says why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision<'a> {
    #[serde(borrow)]
    pub fate: Ruling<'a>,
    pub reason: Reason,
    /// The playbook that ruled, or `pipeline:<name>` or `none`.
    #[serde(borrow)]
    pub playbook: Text<'a>,
    #[serde(borrow)]
    pub rule: Text<'a>,
    /// Every clause of the winning rule with what it saw.
    #[serde(borrow, skip_serializing_if = "Vec::is_empty", default)]
    pub because: Vec<Because<'a>>,
    /// Of each earlier rule the first clause that was false or unknown.
    #[serde(borrow, skip_serializing_if = "Vec::is_empty", default)]
    pub passed: Vec<Passed<'a>>,
    #[serde(borrow, skip_serializing_if = "Vec::is_empty", default)]
    pub boundary: Vec<BoundaryVerdict<'a>>,
    #[serde(borrow, skip_serializing_if = "Vec::is_empty", default)]
    pub blocked: Vec<Blocked<'a>>,
    /// What playbooks in shadow would have ruled; never the fate.
    #[serde(borrow, skip_serializing_if = "Vec::is_empty", default)]
    pub shadow: Vec<Shadow<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ruling<'a> {
    #[serde(borrow)]
    Route(Route<'a>),
    #[serde(borrow)]
    Suppress(Suppress<'a>),
    #[serde(borrow)]
    Escalate(Escalate<'a>),
    #[serde(borrow)]
    Hold(Hold<'a>),
    #[serde(borrow)]
    DeadLetter(Unreadable<'a>),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route<'a> {
    #[serde(borrow)]
    pub queue: Text<'a>,
    pub priority: Priority,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ack_by: Option<Millis>,
}

/// What becomes of what was suppressed when its time is over. The later, the more people get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnExpiry {
    /// It is ruled again, under the policy and with the facts of then.
    Recheck,
    /// People are told what was suppressed, whatever the rules say by then.
    ReleaseSummary,
}

impl OnExpiry {
    pub const ALL: [Self; 2] = [Self::Recheck, Self::ReleaseSummary];

    pub fn name(self) -> &'static str {
        match self {
            Self::Recheck => "recheck",
            Self::ReleaseSummary => "release_summary",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppress<'a> {
    #[serde(borrow)]
    pub evidence: Vec<Evidence<'a>>,
    pub expires_at: Millis,
    pub on_expiry: OnExpiry,
    /// The owner of the file whose rule allowed it.
    #[serde(borrow)]
    pub authorized_by: Text<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Escalate<'a> {
    #[serde(borrow)]
    pub action: Text<'a>,
    /// The NHI or credential to act on.
    #[serde(borrow)]
    pub target: Text<'a>,
    #[serde(borrow)]
    pub rollback: Text<'a>,
    #[serde(borrow)]
    pub queue: Text<'a>,
    pub priority: Priority,
    /// After this the containment is undone unless a person renews it.
    pub expires_at: Millis,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ack_by: Option<Millis>,
    #[serde(borrow)]
    pub permit: PermitRecord<'a>,
}

/// What the boundary check minted, as it stands on record. Only `decide::boundary` makes one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PermitRecord<'a> {
    pub id: Id,
    #[serde(borrow)]
    pub allowed_by: Text<'a>,
    /// What triage can't hold by itself and containment must check before it acts.
    #[serde(borrow)]
    pub obligations: Vec<Obligation<'a>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obligation<'a> {
    /// `approvals`, `per_hour`, `per_owner`, `share_percent`, `hours` or `change_ticket`.
    #[serde(borrow)]
    pub kind: Text<'a>,
    #[serde(borrow)]
    pub value: Text<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold<'a> {
    #[serde(borrow)]
    pub queue: Text<'a>,
    pub priority: Priority,
    /// Who looks at it after this if nobody released it.
    pub until: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    True,
    False,
    Unknown,
}

impl Verdict {
    pub fn of(found: Tri) -> Self {
        match found {
            Tri::True => Self::True,
            Tri::False => Self::False,
            Tri::Unknown => Self::Unknown,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Because<'a> {
    #[serde(borrow)]
    pub clause: Text<'a>,
    pub verdict: Verdict,
    #[serde(borrow)]
    pub seen: Vec<Seen<'a>>,
}

/// One name of a clause and the value it had. Written as JSON text of the value: `"valid"`, `null`,
/// `{"unknown":"stale"}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen<'a> {
    #[serde(borrow)]
    pub name: Text<'a>,
    #[serde(borrow)]
    pub value: Text<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence<'a> {
    #[serde(borrow)]
    pub name: Text<'a>,
    #[serde(borrow)]
    pub value: Text<'a>,
    #[serde(borrow)]
    pub source: Text<'a>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub as_of: Option<Millis>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed<'a> {
    #[serde(borrow)]
    pub rule: Text<'a>,
    #[serde(borrow)]
    pub because: Because<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundaryVerdict<'a> {
    /// `allow`, `deny`, `require`, `protected`, `suppress`, `stop`, `hours` with the entry's id.
    #[serde(borrow)]
    pub id: Text<'a>,
    pub allows: bool,
    #[serde(borrow)]
    pub why: Text<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked<'a> {
    /// `suppress` or the name of an action.
    #[serde(borrow)]
    pub action: Text<'a>,
    #[serde(borrow)]
    pub rule: Text<'a>,
    #[serde(borrow)]
    pub why: Text<'a>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow<'a> {
    #[serde(borrow)]
    pub playbook: Text<'a>,
    #[serde(borrow)]
    pub rule: Text<'a>,
    #[serde(borrow)]
    pub fate: Text<'a>,
    pub reason: Reason,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub queue: Option<Text<'a>>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub priority: Option<Priority>,
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub action: Option<Text<'a>>,
    /// What the boundary would have refused, where `rule` is the fallback for it.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub blocked: Option<Blocked<'a>>,
    /// The first thing in which it is not the fate: `fate`, `action`, `queue`, `priority` or
    /// `reason`; nothing when both are the same.
    #[serde(borrow, skip_serializing_if = "Option::is_none", default)]
    pub differs: Option<Text<'a>>,
}

impl<'a> Shadow<'a> {
    /// What a decision by a playbook in shadow says beside the one that counts.
    pub fn of(shadow: Decision<'a>, live: &Decision<'_>) -> Self {
        let differs = differs(&shadow, live).map(Into::into);
        let reason = shadow.reason;
        let (fate, priority) = (shadow.fate.name().into(), shadow.fate.priority());
        let (queue, action) = match shadow.fate {
            Ruling::Route(route) => (Some(route.queue), None),
            Ruling::Hold(hold) => (Some(hold.queue), None),
            Ruling::Escalate(escalate) => (Some(escalate.queue), Some(escalate.action)),
            Ruling::Suppress(_) | Ruling::DeadLetter(_) => (None, None),
        };
        let (playbook, rule) = (shadow.playbook, shadow.rule);
        let blocked = shadow.blocked.into_iter().next();
        Self { playbook, rule, fate, reason, queue, priority, action, blocked, differs }
    }
}

fn differs(shadow: &Decision<'_>, live: &Decision<'_>) -> Option<&'static str> {
    let (shadow_fate, live_fate) = (&shadow.fate, &live.fate);
    let action = |fate: &Ruling<'_>| match fate {
        Ruling::Escalate(escalate) => Some(escalate.action.to_string()),
        _ => None,
    };
    if shadow_fate.name() != live_fate.name() {
        Some("fate")
    } else if action(shadow_fate) != action(live_fate) {
        Some("action")
    } else if shadow_fate.queue() != live_fate.queue() {
        Some("queue")
    } else if shadow_fate.priority() != live_fate.priority() {
        Some("priority")
    } else if shadow.reason != live.reason {
        Some("reason")
    } else {
        None
    }
}

impl<'a> Decision<'a> {
    /// Without what it rests on.
    pub fn new(
        fate: Ruling<'a>,
        reason: Reason,
        playbook: impl Into<Text<'a>>,
        rule: impl Into<Text<'a>>,
    ) -> Self {
        Self {
            fate,
            reason,
            playbook: playbook.into(),
            rule: rule.into(),
            because: Vec::new(),
            passed: Vec::new(),
            boundary: Vec::new(),
            blocked: Vec::new(),
            shadow: Vec::new(),
        }
    }
}

impl Ruling<'_> {
    pub fn name(&self) -> &'static str {
        match self {
            Self::Route(_) => "route",
            Self::Suppress(_) => "suppress",
            Self::Escalate(_) => "escalate",
            Self::Hold(_) => "hold",
            Self::DeadLetter(_) => "dead_letter",
        }
    }

    /// The queue of people it goes to, if it goes to people.
    pub fn queue(&self) -> Option<&str> {
        match self {
            Self::Route(route) => Some(&route.queue),
            Self::Escalate(escalate) => Some(&escalate.queue),
            Self::Hold(hold) => Some(&hold.queue),
            Self::Suppress(_) | Self::DeadLetter(_) => None,
        }
    }

    /// When people must have acknowledged it.
    pub fn ack_by(&self) -> Option<Millis> {
        match self {
            Self::Route(route) => route.ack_by,
            Self::Escalate(escalate) => escalate.ack_by,
            Self::Hold(_) | Self::Suppress(_) | Self::DeadLetter(_) => None,
        }
    }

    pub fn priority(&self) -> Option<Priority> {
        match self {
            Self::Route(route) => Some(route.priority),
            Self::Escalate(escalate) => Some(escalate.priority),
            Self::Hold(hold) => Some(hold.priority),
            Self::Suppress(_) | Self::DeadLetter(_) => None,
        }
    }
}
