use crate::case::Type;
use crate::text::{At, Fields, Node, Problems, suggestion};

/// What AWS IAM knows of an access key and of the user whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IamSource {
    /// One of `services:`, with credentials for `iam`.
    pub service: String,
    /// In the order of the enricher's `provides`.
    pub gives: Vec<IamGiven>,
    pub at: At,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IamGiven {
    User,
    Arn,
    Path,
    /// `Active` or `Inactive`: of the key.
    Status,
    Created,
    LastUsed,
    LastUsedService,
    LastUsedRegion,
    /// The names of all that apply.
    Policies,
    /// Over all that the policies say: another one when one of them is edited.
    PermissionsDigest,
    /// Whether everything is allowed on everything.
    Admin,
    Tags,
}

const GIVEN: &[(&str, Type, IamGiven)] = &[
    ("user", Type::Text, IamGiven::User),
    ("arn", Type::Text, IamGiven::Arn),
    ("path", Type::Text, IamGiven::Path),
    ("status", Type::Text, IamGiven::Status),
    ("created", Type::Time, IamGiven::Created),
    ("last_used", Type::Time, IamGiven::LastUsed),
    ("last_used_service", Type::Text, IamGiven::LastUsedService),
    ("last_used_region", Type::Text, IamGiven::LastUsedRegion),
    ("policies", Type::Text, IamGiven::Policies),
    ("permissions_digest", Type::Text, IamGiven::PermissionsDigest),
    ("admin", Type::Bool, IamGiven::Admin),
    ("tags", Type::Text, IamGiven::Tags),
];

pub(super) fn aws_iam(
    node: &Node,
    provides: &[(String, Type)],
    problems: &mut Problems,
) -> Option<IamSource> {
    let mut fields = Fields::of(node, "`aws_iam`", problems)?;
    let service = fields.require_text("service", problems);
    fields.finish(problems);
    let gives = provides.iter().map(|(name, of)| given(name, *of, &node.at, problems));
    let gives: Vec<Option<IamGiven>> = gives.collect();
    let gives = gives.into_iter().collect::<Option<Vec<_>>>()?;
    Some(IamSource { service: service?.to_owned(), gives, at: node.at.clone() })
}

fn given(name: &str, of: Type, at: &At, problems: &mut Problems) -> Option<IamGiven> {
    let Some((_, wanted, given)) = GIVEN.iter().find(|(known, ..)| *known == name) else {
        let hint = suggestion(name, GIVEN.iter().map(|(known, ..)| *known));
        problems.add(at, format!("AWS IAM does not provide `{name}`{hint}"));
        return None;
    };
    if *wanted != of {
        problems.add(at, format!("`{name}` of AWS IAM is {}", wanted.name()));
    }
    Some(*given)
}
