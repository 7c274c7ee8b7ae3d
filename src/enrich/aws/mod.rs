//! AWS IAM: whose an access key is, whether it is used, and what it may do.
//!
//! In: an access key's id. Out: the facts of its user, or that IAM does not hold it. What must stay
//! true: a call that is refused, or that says what another one contradicts, is a failure and never
//! an absence.

mod policy;
mod query;

use std::sync::Arc;

use policy::{Policies, Policy};
use query::{Answered, Element, Iam};

use super::remote::{BoxFuture, Found, Remote};
use crate::case::{Millis, Value};
use crate::config::{IamGiven, IamSource};
use crate::service::{Failure, Fault, Service};

/// The enricher's source.
pub struct AwsIam {
    iam: Iam,
    gives: Vec<IamGiven>,
    /// Reading permissions takes most of the calls.
    wants_policies: bool,
}

/// One user, and one key of the user's.
#[derive(Default)]
struct Known {
    user: String,
    arn: Option<String>,
    path: Option<String>,
    status: Option<String>,
    created: Option<Millis>,
    last_used: Option<Millis>,
    last_used_service: Option<String>,
    last_used_region: Option<String>,
    tags: Option<String>,
    policies: Policies,
}

const TEXT_MAX: usize = 1000;

impl AwsIam {
    pub fn new(service: Arc<Service>, source: &IamSource) -> Self {
        let of_policies = [IamGiven::Policies, IamGiven::PermissionsDigest, IamGiven::Admin];
        let wants_policies = source.gives.iter().any(|given| of_policies.contains(given));
        Self { iam: Iam(service), gives: source.gives.clone(), wants_policies }
    }

    async fn look(&self, key: &str) -> Result<Option<Known>, Failure> {
        if !is_access_key(key) {
            return Ok(None);
        }
        let last = self.iam.ask("GetAccessKeyLastUsed", &[("AccessKeyId", key)]).await?;
        let Answered::Is(last) = last else { return Ok(None) };
        let user = last.need("UserName")?;
        let of_user = [("UserName", user.as_str())];
        let (keys, about) = tokio::try_join!(
            self.iam.list("ListAccessKeys", &user, "AccessKeyMetadata"),
            self.iam.ask("GetUser", &of_user),
        )?;
        // A user who is gone has no keys.
        let (Answered::Is(keys), Answered::Is(about)) = (keys, about) else { return Ok(None) };
        let own = keys.iter().find(|each| each.get("AccessKeyId").as_deref() == Some(key));
        let Some(own) = own else {
            let told = format!("ListAccessKeys does not list a key that is {user}'s");
            return Err(Failure::new(Fault::Malformed, told));
        };
        let mut known = Known {
            arn: about.get("Arn"),
            path: about.get("Path"),
            status: own.get("Status"),
            created: own.time("CreateDate")?,
            last_used: last.time("LastUsedDate")?,
            last_used_service: last.get("ServiceName").filter(|name| name != NEVER),
            last_used_region: last.get("Region").filter(|name| name != NEVER),
            tags: tags(&about),
            ..Known::default()
        };
        if self.wants_policies {
            known.policies = self.policies(&user, &about).await?;
        }
        known.user = user;
        Ok(Some(known))
    }

    /// Everything that says what the user may do: own policies, those of groups, and the boundary.
    async fn policies(&self, user: &str, about: &Element) -> Result<Policies, Failure> {
        let (attached, inline, groups) = tokio::try_join!(
            self.iam.list("ListAttachedUserPolicies", user, "AttachedPolicies"),
            self.iam.list("ListUserPolicies", user, "PolicyNames"),
            self.iam.list("ListGroupsForUser", user, "Groups"),
        )?;
        let mut policies = Policies::default();
        let owner = format!("user/{user}");
        self.attached(&owner, attached.there()?, &mut policies).await?;
        for name in inline.there()? {
            let name = name.text();
            let given = [("UserName", user), ("PolicyName", &name)];
            self.inline(&owner, "GetUserPolicy", &given, &mut policies).await?;
        }
        for group in groups.there()? {
            let group = group.need("GroupName")?;
            let (attached, inline) = tokio::try_join!(
                self.iam.list("ListAttachedGroupPolicies", &group, "AttachedPolicies"),
                self.iam.list("ListGroupPolicies", &group, "PolicyNames"),
            )?;
            let owner = format!("group/{group}");
            self.attached(&owner, attached.there()?, &mut policies).await?;
            for name in inline.there()? {
                let name = name.text();
                let given = [("GroupName", group.as_str()), ("PolicyName", &name)];
                self.inline(&owner, "GetGroupPolicy", &given, &mut policies).await?;
            }
        }
        if let Some(boundary) = about.child("PermissionsBoundary") {
            let arn = boundary.need("PermissionsBoundaryArn")?;
            let (version, document) = self.managed(&arn).await?;
            let name = arn.clone();
            policies.bound(Policy::read(("boundary", &name), &version, &document)?);
        }
        Ok(policies)
    }

    async fn attached(
        &self,
        owner: &str,
        attached: Vec<Element>,
        policies: &mut Policies,
    ) -> Result<(), Failure> {
        for policy in attached {
            let arn = policy.need("PolicyArn")?;
            let (version, document) = self.managed(&arn).await?;
            policies.add(Policy::read((owner, &arn), &version, &document)?);
        }
        Ok(())
    }

    async fn inline(
        &self,
        owner: &str,
        action: &str,
        given: &[(&str, &str)],
        policies: &mut Policies,
    ) -> Result<(), Failure> {
        let policy = self.iam.ask(action, given).await?.there()?;
        let (name, document) = (policy.need("PolicyName")?, policy.need("PolicyDocument")?);
        policies.add(Policy::read((owner, &name), "", &document)?);
        Ok(())
    }

    /// The version that is in force, and its document.
    async fn managed(&self, arn: &str) -> Result<(String, String), Failure> {
        let policy = self.iam.ask("GetPolicy", &[("PolicyArn", arn)]).await?.there()?;
        let version = policy.need("DefaultVersionId")?;
        let given = [("PolicyArn", arn), ("VersionId", version.as_str())];
        let policy = self.iam.ask("GetPolicyVersion", &given).await?.there()?;
        Ok((version, policy.need("Document")?))
    }
}

/// What IAM says of a key that was never used.
const NEVER: &str = "N/A";

/// Nothing else can be asked for: fingerprints and tokens of others are not IAM's.
fn is_access_key(key: &str) -> bool {
    let is_kind = ["AKIA", "ASIA"].iter().any(|kind| key.starts_with(kind));
    let allowed = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    is_kind && (16..=128).contains(&key.len()) && key.bytes().all(allowed)
}

fn tags(about: &Element) -> Option<String> {
    let tags = about.child("Tags")?.members();
    let pair = |tag: &Element| Some(format!("{}={}", tag.get("Key")?, tag.get("Value")?));
    let mut tags: Vec<String> = tags.iter().filter_map(pair).collect();
    tags.sort_unstable();
    Some(tags.join(", ")).filter(|tags| !tags.is_empty())
}

fn value(known: &Known, given: IamGiven) -> Value<'static> {
    let text = |text: &Option<String>| match text {
        Some(text) => Value::Text(text.chars().take(TEXT_MAX).collect::<String>().into()),
        None => Value::Absent,
    };
    let time = |time: Option<Millis>| time.map_or(Value::Absent, Value::Time);
    match given {
        IamGiven::User => Value::Text(known.user.clone().into()),
        IamGiven::Arn => text(&known.arn),
        IamGiven::Path => text(&known.path),
        IamGiven::Status => text(&known.status),
        IamGiven::Created => time(known.created),
        IamGiven::LastUsed => time(known.last_used),
        IamGiven::LastUsedService => text(&known.last_used_service),
        IamGiven::LastUsedRegion => text(&known.last_used_region),
        IamGiven::Policies => text(&known.policies.names()),
        IamGiven::PermissionsDigest => Value::Text(known.policies.digest().into()),
        IamGiven::Admin => Value::Bool(known.policies.is_admin()),
        IamGiven::Tags => text(&known.tags),
    }
}

impl Remote for AwsIam {
    fn fetch<'r>(&'r self, key: &'r str) -> BoxFuture<'r, Result<Found, Failure>> {
        Box::pin(async move {
            let known = self.look(key).await?;
            Ok(known.map_or(Found::Absent, |known| {
                Found::Known(self.gives.iter().map(|given| value(&known, *given)).collect())
            }))
        })
    }
}
