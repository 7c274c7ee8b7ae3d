use std::fmt;

use serde::{Deserialize, Serialize};

/// Words with a stable code and a sentence for people.
macro_rules! coded {
    ($(#[$about_all:meta])* $name:ident: $($variant:ident $code:literal $about:literal,)*) => {
        $(#[$about_all])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum $name { $(#[doc = $about] #[serde(rename = $code)] $variant,)* }

        impl $name {
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// For people.
            pub fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)* }
            }
        }
    };
}
pub(super) use coded;

coded! {
    /// Why a ruling is what it is. Codes are stable: queries and reports are built on them.
    Reason:
    RuleMatched "rule_matched" "A rule of the playbook was true.",
    NoRule "no_rule" "No playbook is for this alert, or none of its rules was true: people look at it.",
    UnknownFact "unknown_fact" "A rule could not be decided because a fact is unknown: people look at it.",
    UnknownBeforeSuppression "unknown_before_suppression" "An earlier rule was unknown, so nothing may be suppressed: held for people.",
    UnknownBeforeEscalation "unknown_before_escalation" "An earlier rule was unknown and the boundary does not let it be passed: held for people.",
    BoundaryRefused "boundary_refused" "The boundary refused what the playbook wanted; its fallback was taken.",
    LateSuppression "late_suppression" "What was learned later would suppress it; people have it already, and they decide.",
    HoldOver "hold_over" "It was held as long as it may be, and a fact is still unknown: people look at it.",
    Released "released" "A person ended its hold by a signed order, and a fact is still unknown: people look at it.",
    SpreadTooFar "spread_too_far" "It would be suppressed, but the case has spread further than the playbook's `break_out` allows: people look at it.",
    TestFixture "test_fixture" "A registered test value that is proved not to work.",
    RevokedVerified "revoked_verified" "The credential is revoked, and a lookup proved it.",
    RotationInProgress "rotation_in_progress" "A registered rotation explains it.",
    ApprovedChange "approved_change" "An approved change explains it.",
    AcceptedRisk "accepted_risk" "People have accepted its risk for a time, by a signed order.",
    NotAnAlert "not_an_alert" "The detector reports nothing to act on.",
    Empty "empty" "The message has no value (a tombstone) or no byte.",
    TooLarge "too_large" "The message is larger than the limit.",
    NotJson "not_json" "The message is no JSON.",
    TooDeep "too_deep" "The message nests deeper than the limit.",
    TooMany "too_many" "The message holds more alerts than the limit.",
    UnknownShape "unknown_shape" "No pipeline of this topic knows the message's shape.",
    AmbiguousShape "ambiguous_shape" "More than one pipeline claims the message.",
    IncompleteReport "incomplete_report" "The report says of itself that it did not come to an end: what it lacks may be there all the same.",
    BadField "bad_field" "A field that the pipeline requires is missing or of the wrong type.",
    AlertTooLarge "alert_too_large" "The alert made of the message is larger than the limit.",
    BadAlert "bad_alert" "The record on the alerts topic is no alert of this version.",
    RuleFailed "rule_failed" "Ruling it failed inside the program; this is a defect to report.",
}

impl Reason {
    /// Reasons that a playbook may give for a suppression.
    pub const SUPPRESSIONS: &'static [Reason] = &[
        Self::TestFixture,
        Self::RevokedVerified,
        Self::RotationInProgress,
        Self::ApprovedChange,
        Self::AcceptedRisk,
        Self::NotAnAlert,
    ];

    pub fn coded(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_read_back() {
        for reason in Reason::ALL {
            assert_eq!(Reason::coded(reason.code()), Some(*reason));
            assert!(reason.about().ends_with('.'), "{reason} needs a sentence");
        }
    }
}
