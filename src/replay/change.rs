use crate::case::{Decision, Ruling};

macro_rules! changes {
    ($($variant:ident $code:literal $name:literal $about:literal,)*) => {
        /// What is otherwise between two rulings of one alert, the gravest first.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Change { $(#[doc = $about] $variant,)* }

        pub const CHANGES: &[Change] = &[$(Change::$variant,)*];

        impl Change {
            /// As in JSON. Stable.
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            pub fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)* }
            }
        }
    };
}

changes! {
    NewDeadLetter "new_dead_letter" "new dead letters" "It could no longer be read, and nothing would rule it.",
    NewSuppression "new_suppression" "new suppressions" "Nobody would see it any more.",
    NewContainment "new_containment" "new containments" "An escalation with a permit, or one of another action or target.",
    LostEscalation "lost_escalation" "lost escalations" "It would no longer be contained.",
    OtherSuppression "other_suppression" "suppressions on other terms" "Suppressed as before, for another reason, evidence or time.",
    OtherContainment "other_containment" "containments on other terms" "The same action on the same target, with another undo, time or permit.",
    NewHold "new_hold" "new holds" "It would wait for a fact before people get it.",
    LostHold "lost_hold" "lost holds" "It would no longer wait.",
    LostSuppression "lost_suppression" "lost suppressions" "People would see it.",
    LostDeadLetter "lost_dead_letter" "lost dead letters" "It could be read, and would be ruled.",
    OtherQueue "other_queue" "other queues" "Other people would get it.",
    LoweredPriority "lowered_priority" "lowered priorities" "It would be less urgent.",
    RaisedPriority "raised_priority" "raised priorities" "It would be more urgent.",
    OtherDeadline "other_deadline" "other deadlines" "The same queue and priority, with another time to answer by.",
}

/// All that is otherwise; nothing when the fates are the same. Which rule said so does not count.
pub fn changes(old: &Decision<'_>, new: &Decision<'_>) -> Vec<Change> {
    if old.fate == new.fate {
        return Vec::new();
    }
    let mut found = Vec::new();
    match (&old.fate, &new.fate) {
        (Ruling::DeadLetter(_), Ruling::DeadLetter(_)) => {}
        (_, Ruling::DeadLetter(_)) => found.push(Change::NewDeadLetter),
        (Ruling::DeadLetter(_), _) => found.push(Change::LostDeadLetter),
        _ => {}
    }
    match (&old.fate, &new.fate) {
        (Ruling::Suppress(_), Ruling::Suppress(_)) => found.push(Change::OtherSuppression),
        (_, Ruling::Suppress(_)) => found.push(Change::NewSuppression),
        (Ruling::Suppress(_), Ruling::DeadLetter(_)) => {}
        (Ruling::Suppress(_), _) => found.push(Change::LostSuppression),
        _ => {}
    }
    match (&old.fate, &new.fate) {
        (Ruling::Escalate(old), Ruling::Escalate(new)) => {
            if (&old.action, &old.target) != (&new.action, &new.target) {
                found.push(Change::NewContainment);
            } else if (&old.rollback, old.expires_at, &old.permit)
                != (&new.rollback, new.expires_at, &new.permit)
            {
                found.push(Change::OtherContainment);
            }
        }
        (_, Ruling::Escalate(_)) => found.push(Change::NewContainment),
        (Ruling::Escalate(_), _) => found.push(Change::LostEscalation),
        _ => {}
    }
    let is_held = |fate: &Ruling<'_>| matches!(fate, Ruling::Hold(_));
    match (is_held(&old.fate), is_held(&new.fate)) {
        (false, true) => found.push(Change::NewHold),
        (true, false) => found.push(Change::LostHold),
        _ => {}
    }
    found.extend(for_people(&old.fate, &new.fate));
    if found.is_empty() {
        found.push(Change::OtherDeadline);
    }
    found.sort_unstable();
    found
}

/// Another queue counts where the kind of ruling is the same: a hold always waits elsewhere.
fn for_people(old: &Ruling<'_>, new: &Ruling<'_>) -> Vec<Change> {
    let mut found = Vec::new();
    if old.name() == new.name() && old.queue() != new.queue() {
        found.push(Change::OtherQueue);
    }
    if let (Some(old), Some(new)) = (old.priority(), new.priority()) {
        match old.cmp(&new) {
            std::cmp::Ordering::Greater => found.push(Change::LoweredPriority),
            std::cmp::Ordering::Less => found.push(Change::RaisedPriority),
            std::cmp::Ordering::Equal => {}
        }
    }
    found
}
