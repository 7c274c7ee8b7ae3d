use super::{OWASP_NHI, Type};

pub const SEVERITIES: [&str; 5] = ["informational", "low", "medium", "high", "critical"];

/// What is known about one field of an alert: the name in files, its type, a line for people.
#[derive(Debug)]
pub struct FieldInfo {
    pub field: Field,
    /// `alert`, `nhi`, `credential`, `location`, `event`, `source` or `resource`.
    pub group: &'static str,
    pub name: &'static str,
    /// The name in conditions and mappings: `nhi.id`; fields of the alert itself stand bare:
    /// `severity`.
    pub path: &'static str,
    pub of: Type,
    pub about: &'static str,
}

const fn path(group: &'static str, name: &'static str, both: &'static str) -> &'static str {
    match group.as_bytes() {
        b"alert" => name,
        _ => both,
    }
}

macro_rules! fields {
    ($($group:literal { $($variant:ident $name:literal $of:ident $about:literal,)* })*) => {
        /// A field of an alert; its place in [`FIELDS`] and in an alert's slots.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Field { $($($variant,)*)* }

        /// The fields of each group, in the order in which they are written.
        pub static GROUPS: &[(&str, &[FieldInfo])] = &[
            $(($group, &[$(FieldInfo {
                field: Field::$variant, group: $group, name: $name,
                path: path($group, $name, concat!($group, ".", $name)),
                of: Type::$of, about: $about,
            },)*]),)*
        ];

        /// Every field an alert can have, in the order in which it is written.
        pub static FIELDS: &[FieldInfo] = &[
            $($(FieldInfo {
                field: Field::$variant, group: $group, name: $name,
                path: path($group, $name, concat!($group, ".", $name)),
                of: Type::$of, about: $about,
            },)*)*
        ];
    };
}

fields! {
    "alert" {
        Kind "kind" Text "exposed_key, auth_failure, token_misuse, or activity: none of them",
        Detector "detector" Text "the tool that raised it",
        Severity "severity" Text "informational, low, medium, high or critical",
        Title "title" Text "the detector's own short text",
        NativeId "native_id" Text "the detector's own id, if it has one",
        NotAnAlert "not_an_alert" Text "why the pipeline says that there is nothing to act on",
        AttackTechnique "attack_technique" Text "MITRE ATT&CK technique, T1078.004",
        OwaspNhi "owasp_nhi" Text "OWASP NHI Top 10 entry, NHI2:2025",
        OccurredAt "occurred_at" Time "when it happened, as the detector claims",
        ObservedAt "observed_at" Time "when the detector saw it",
        ReceivedAt "received_at" Time "when the broker or the webhook took it",
    }
    "nhi" {
        NhiId "id" Text "the identity it is about",
        NhiKind "kind" Text "service_account, api_key, token, oauth_app, certificate, agent, managed_identity, person or unknown",
        NhiKindKnownBy "kind_known_by" Text "how the kind is known: path:<where>, pipeline, alias:<table>",
        NhiName "name" Text "its readable name",
        NhiPlatform "platform" Text "where it lives: aws, okta, github, ...",
        NhiAccount "account" Text "account, tenant or organization",
        NhiKnownBy "known_by" Text "how the id was found: native, alias:<table>, or the field it fell back to",
    }
    "credential" {
        CredentialType "type" Text "aws_access_key, api_token, private_key, ...",
        CredentialId "id" Text "its public id, never the secret",
        CredentialFingerprint "fingerprint" Text "keyed fingerprint of the secret",
        CredentialValidity "validity" Text "valid, invalid or unverified, as the detector says",
    }
    "location" {
        Repository "repository" Text "repository it was found in",
        File "file" Text "path inside the repository",
        Line "line" Int "line in the file, from 1",
        Commit "commit" Text "commit id",
        Branch "branch" Text "branch",
        Author "author" Text "who committed it",
        Url "url" Text "where a person can look",
    }
    "event" {
        EventType "type" Text "the detector's type or rule id",
        EventAction "action" Text "operation or API call",
        EventOutcome "outcome" Text "success, failure or unknown",
        EventReason "reason" Text "the detector's reason or error code",
        EventCount "count" Int "how often, when the detector counts",
    }
    "source" {
        SourceIp "ip" Text "address it came from",
        SourceUserAgent "user_agent" Text "client it came from",
        SourceCountry "country" Text "country, as the detector says",
        SourceNetwork "network" Text "autonomous system or network name",
    }
    "resource" {
        ResourceType "type" Text "what was touched",
        ResourceId "id" Text "its id",
        ResourceRegion "region" Text "region",
    }
}

impl Field {
    pub const COUNT: usize = FIELDS.len();

    pub fn index(self) -> usize {
        self as usize
    }

    /// See [`FieldInfo::path`].
    pub fn path(self) -> &'static str {
        FIELDS.get(self.index()).map_or("", |info| info.path)
    }

    pub fn of(self) -> Type {
        FIELDS.get(self.index()).map_or(Type::Text, |info| info.of)
    }

    /// The only values that intake lets some fields have: playbooks are checked against them.
    pub fn words(self) -> Option<&'static [&'static str]> {
        match self {
            Self::Kind => Some(&["exposed_key", "auth_failure", "token_misuse", "activity"]),
            Self::NhiKind => Some(&[
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
            Self::OwaspNhi => Some(&OWASP_NHI),
            Self::Severity => Some(&SEVERITIES),
            Self::CredentialValidity => Some(&["valid", "invalid", "unverified"]),
            Self::EventOutcome => Some(&["success", "failure", "unknown"]),
            _ => None,
        }
    }
}

/// Finds `nhi.id`, `severity` or `alert.severity`.
pub fn field_named(path: &str) -> Option<Field> {
    let (group, name) = path.split_once('.').unwrap_or(("alert", path));
    FIELDS.iter().find(|info| info.group == group && info.name == name).map(|info| info.field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_found_by_its_path_and_stands_at_its_index() {
        for (index, info) in FIELDS.iter().enumerate() {
            assert_eq!(info.field.index(), index);
            assert_eq!(field_named(info.field.path()), Some(info.field));
        }
        assert_eq!(field_named("alert.kind"), Some(Field::Kind));
        assert_eq!(field_named("nhi.nope"), None);
    }
}
