use super::techniques::TECHNIQUES;

/// The version of MITRE ATT&CK that [`technique`] knows.
pub const ATTACK_VERSION: &str = "18.1";

/// The OWASP Non-Human Identities Top 10 of 2025.
pub const OWASP_NHI: [&str; 10] = [
    "NHI1:2025",
    "NHI2:2025",
    "NHI3:2025",
    "NHI4:2025",
    "NHI5:2025",
    "NHI6:2025",
    "NHI7:2025",
    "NHI8:2025",
    "NHI9:2025",
    "NHI10:2025",
];

/// In the order of [`OWASP_NHI`].
const OWASP_NHI_NAMES: [&str; 10] = [
    "Improper Offboarding",
    "Secret Leakage",
    "Vulnerable Third-Party NHI",
    "Insecure Authentication",
    "Overprivileged NHI",
    "Insecure Cloud Deployment Configurations",
    "Long-Lived Secrets",
    "Environment Isolation",
    "NHI Reuse",
    "Human Use of NHI",
];

const TACTICS: [(&str, &str); 14] = [
    ("TA0001", "Initial Access"),
    ("TA0002", "Execution"),
    ("TA0003", "Persistence"),
    ("TA0004", "Privilege Escalation"),
    ("TA0005", "Defense Evasion"),
    ("TA0006", "Credential Access"),
    ("TA0007", "Discovery"),
    ("TA0008", "Lateral Movement"),
    ("TA0009", "Collection"),
    ("TA0010", "Exfiltration"),
    ("TA0011", "Command and Control"),
    ("TA0040", "Impact"),
    ("TA0042", "Resource Development"),
    ("TA0043", "Reconnaissance"),
];

/// A technique or sub-technique of ATT&CK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Technique {
    pub id: &'static str,
    pub name: &'static str,
    /// Ids, a space between them.
    tactics: &'static str,
}

impl Technique {
    /// Id and name of the tactic, if it serves only one: which of several is not known.
    pub fn tactic(&self) -> Option<(&'static str, &'static str)> {
        TACTICS.iter().copied().find(|(id, _)| *id == self.tactics)
    }
}

/// Errors: nothing when the id is none of those that are known here, which are not all there are.
pub fn technique(id: &str) -> Option<Technique> {
    let found = TECHNIQUES.binary_search_by_key(&id, |(known, ..)| known).ok()?;
    let (id, name, tactics) = TECHNIQUES.get(found).copied()?;
    Some(Technique { id, name, tactics })
}

pub fn technique_ids() -> impl Iterator<Item = &'static str> {
    TECHNIQUES.iter().map(|(id, ..)| *id)
}

/// Whether it is written as a technique is: `T1078` or `T1078.004`.
pub fn is_technique_id(text: &str) -> bool {
    let (technique, sub) = text.split_once('.').map_or((text, None), |(t, s)| (t, Some(s)));
    let digits =
        |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    technique.strip_prefix('T').is_some_and(|number| digits(number, 4))
        && sub.is_none_or(|number| digits(number, 3))
}

pub fn owasp_nhi_name(id: &str) -> Option<&'static str> {
    let place = OWASP_NHI.iter().position(|known| *known == id)?;
    OWASP_NHI_NAMES.get(place).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_technique_is_found_and_its_tactics_and_its_family_are_known() {
        assert!(TECHNIQUES.len() > 250);
        for (id, name, tactics) in TECHNIQUES {
            assert!(is_technique_id(id), "{id}");
            assert_eq!(technique(id).map(|found| found.name), Some(*name), "{id}: out of order");
            assert!(
                tactics.split(' ').all(|t| TACTICS.iter().any(|(known, _)| *known == t)),
                "{id}"
            );
            let family = id.split('.').next().unwrap_or_default();
            assert!(technique(family).is_some(), "{id} without {family}");
        }
    }

    #[test]
    fn a_tactic_is_named_only_when_there_is_one() {
        let of = |id: &str| technique(id).and_then(|technique| technique.tactic());
        assert_eq!(of("T1552.001"), Some(("TA0006", "Credential Access")));
        assert_eq!(of("T1078.004"), None);
    }

    #[test]
    fn an_id_is_a_t_and_four_digits_and_perhaps_three_more() {
        for id in ["T1078", "T1078.004"] {
            assert!(is_technique_id(id), "{id}");
        }
        for id in [
            "",
            "T",
            "T107",
            "T10780",
            "t1078",
            "T1O78",
            "T1078.",
            "T1078.4",
            "T1078.0041",
            "T1078.004.1",
            "TA0006",
            "T١٢٣٤",
        ] {
            assert!(!is_technique_id(id), "{id}");
        }
    }

    #[test]
    fn every_entry_of_the_top_ten_has_its_own_name() {
        let names: std::collections::BTreeSet<_> =
            OWASP_NHI.iter().filter_map(|id| owasp_nhi_name(id)).collect();
        assert_eq!(names.len(), OWASP_NHI.len());
        assert_eq!(owasp_nhi_name("NHI10:2025"), Some("Human Use of NHI"));
        assert_eq!(owasp_nhi_name("NHI11:2025"), None);
    }
}
