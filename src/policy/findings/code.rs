/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// It starts, and something does not do what it says.
    Warning,
    /// Nothing starts.
    Error,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

macro_rules! codes {
    ($($severity:ident { $($variant:ident $id:literal $about:literal,)* })*) => {
        /// What a finding is about; the codes do not change.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code { $($($variant,)*)* }

        impl Code {
            pub const ALL: &'static [Self] = &[$($(Self::$variant,)*)*];

            pub const fn id(self) -> &'static str {
                match self { $($(Self::$variant => $id,)*)* }
            }

            pub fn severity(self) -> Severity {
                match self { $($(Self::$variant => Severity::$severity,)*)* }
            }

            pub fn about(self) -> &'static str {
                match self { $($(Self::$variant => $about,)*)* }
            }
        }
    };
}

codes! {
    Error {
        Unreadable "TS-001" "A file can't be read as what it is",
        Overlap "TS-101" "Two live playbooks for one alert, without an order",
        Unreached "TS-102" "A playbook that no alert reaches",
        Undeclared "TS-103" "A fact that is used and not declared",
        NoEvidence "TS-104" "A suppression without evidence",
        NoExpiry "TS-105" "A suppression without an end",
        NoOwner "TS-106" "A file without an owner",
        NoAction "TS-107" "An action that nobody described",
        NoUndo "TS-108" "An action without its undo",
        NoFallback "TS-109" "A playbook that does not end with people",
        NoQueue "TS-110" "A queue that nobody defined",
    }
    Warning {
        NeverTrue "TS-201" "A rule that can never be true",
        NeverReached "TS-202" "A rule that never gets an alert",
        AlwaysTrue "TS-203" "A clause that is always true",
        NeverHelps "TS-204" "An alternative that can never be true",
        NoSuchValue "TS-205" "A value that never occurs",
        NoTest "TS-302" "A playbook without a test",
        TooLong "TS-401" "A suppression longer than the boundary allows",
        NeverSuppressed "TS-402" "A suppression that the boundary always refuses",
        NeverAllowed "TS-403" "An escalation that the boundary always refuses",
        NeverDenies "TS-404" "A denial that never denies",
        AlwaysDenies "TS-405" "A denial that denies everything",
        CallbackOff "TS-501" "A sink through which nobody can acknowledge",
    }
    Note {
        SaysNothing "TS-206" "A clause that says nothing new",
        Unused "TS-301" "A fact that is declared and never used",
        IdleAction "TS-406" "An action that no rule asks for",
        OpenQueues "TS-407" "Queues that are not listed",
    }
}

impl Code {
    pub fn named(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.id() == id)
    }

    /// Where it is explained.
    pub fn page(self) -> String {
        format!("playbooks/FINDINGS.md#{}", self.id().to_lowercase())
    }
}
