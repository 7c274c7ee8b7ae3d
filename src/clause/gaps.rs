/// What becomes of a value that is not there (INV-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gaps {
    /// False over an absent value, and negated unknown; unknown over an unknown one.
    Compares,
    /// False over an absent value, and negated true; unknown over an unknown one.
    Answers,
    /// False over a value that is known or absent, and negated true; over an unknown one true, and
    /// negated unknown: what it turned out to be could undo what rested on its being known.
    Asks,
    /// Absent where a part is, else unknown where a part is.
    PassesOn,
    /// Kleene's logic.
    Joins,
}

impl Gaps {
    pub fn over_absent(self) -> &'static str {
        match self {
            Self::Compares => "false; negated unknown",
            Self::Answers | Self::Asks => "false; negated true",
            Self::PassesOn => "absent",
            Self::Joins => "see below",
        }
    }

    pub fn over_unknown(self) -> &'static str {
        match self {
            Self::Compares | Self::Answers | Self::PassesOn => "unknown",
            Self::Asks => "true, for another cause false; negated unknown",
            Self::Joins => "see below",
        }
    }
}
