use crate::case::Field;
use crate::text::{At, Problems, suggestion};

/// The only values that some fields may have: playbooks are checked against them.
pub(super) fn words_of(field: Field) -> Option<&'static [&'static str]> {
    match field {
        Field::Kind => Some(&["exposed_key", "auth_failure", "token_misuse", "activity"]),
        Field::NhiKind => Some(&[
            "service_account",
            "api_key",
            "token",
            "oauth_app",
            "certificate",
            "agent",
            "managed_identity",
            "person",
            "unknown",
        ]),
        Field::OwaspNhi => Some(&[
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
        ]),
        Field::Severity => Some(&["informational", "low", "medium", "high", "critical"]),
        Field::CredentialValidity => Some(&["valid", "invalid", "unverified"]),
        Field::EventOutcome => Some(&["success", "failure", "unknown"]),
        _ => None,
    }
}

pub(super) fn check_word(field: Field, word: &str, at: &At, problems: &mut Problems) {
    let Some(words) = words_of(field) else { return };
    if !words.contains(&word) {
        let hint = suggestion(word, words.iter().copied());
        let (path, all) = (field.path(), words.join("`, `"));
        problems.add(at, format!("`{path}` is one of `{all}`, never `{word}`{hint}"));
    }
}
