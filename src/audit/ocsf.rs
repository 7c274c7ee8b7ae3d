//! The part of OCSF 1.8.0 that a Detection Finding of ours uses, as it is written. Times are
//! milliseconds since 1970; an `_id` has its caption beside it.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use super::Hash;
use super::outputs;
use crate::case::{Alert, Id, Ruling, Why};

pub(super) const VERSION: &str = "1.8.0";
pub(super) const CATEGORY_UID: u32 = 2;
pub(super) const CLASS_UID: u32 = 2004;
/// The profile that brings priority and assignee.
pub(super) const PROFILES: [&str; 1] = ["incident"];

/// A value of an enumeration and its caption.
pub(super) type Enum = (u32, &'static str);

#[derive(Serialize)]
pub(super) struct DetectionFinding<'r> {
    pub activity_id: u32,
    pub activity_name: &'static str,
    pub category_uid: u32,
    pub category_name: &'static str,
    pub class_uid: u32,
    pub class_name: &'static str,
    pub type_uid: u32,
    pub type_name: String,
    pub time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<i64>,
    pub severity_id: u32,
    pub severity: &'static str,
    pub status_id: u32,
    pub status: &'static str,
    pub status_code: &'static str,
    pub status_detail: &'static str,
    pub is_alert: bool,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority_id: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignee_group: Option<Named<'r>>,
    pub finding_info: FindingInfo<'r>,
    pub resources: Vec<Resource<'r>>,
    pub evidences: [Evidence<'r>; 1],
    pub enrichments: Vec<Enrichment<'r>>,
    pub observables: Vec<Observable<'r>>,
    pub metadata: Metadata<'r>,
    pub unmapped: Unmapped<'r>,
}

#[derive(Serialize)]
pub(super) struct Named<'r> {
    pub name: &'r str,
}

#[derive(Serialize)]
pub(super) struct FindingInfo<'r> {
    pub uid: &'r str,
    pub title: &'r str,
    pub types: Vec<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_time: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified_time: Option<i64>,
    pub first_seen_time: i64,
    pub last_seen_time: i64,
    pub analytic: Analytic<'r>,
    pub related_analytics: [Analytic<'r>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attacks: Option<[Attack<'r>; 1]>,
    pub data_sources: [&'r str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<Named<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src_url: Option<&'r str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag<'r>>,
}

#[derive(Serialize)]
pub(super) struct Analytic<'r> {
    pub name: &'r str,
    pub uid: Cow<'r, str>,
    pub type_id: u32,
    pub r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<&'r str>,
}

#[derive(Serialize)]
pub(super) struct Attack<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tactic: Option<Entity<'r>>,
    pub technique: Entity<'r>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_technique: Option<Entity<'r>>,
    pub version: &'static str,
}

#[derive(Serialize)]
pub(super) struct Entity<'r> {
    pub uid: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'r str>,
}

#[derive(Serialize)]
pub(super) struct Tag<'r> {
    pub name: &'static str,
    pub value: &'r str,
}

#[derive(Serialize)]
pub(super) struct Resource<'r> {
    pub uid: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<&'r str>,
    pub role_id: u32,
    pub role: &'static str,
}

/// One piece of evidence; `data` is the whole alert.
#[derive(Serialize)]
pub(super) struct Evidence<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<Actor<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<User<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<Api<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src_endpoint: Option<Endpoint<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub http_request: Option<HttpRequest<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<File<'r>>,
    pub data: &'r Alert<'r>,
}

#[derive(Serialize)]
pub(super) struct Actor<'r> {
    pub user: User<'r>,
}

#[derive(Serialize)]
pub(super) struct User<'r> {
    pub uid: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<&'r str>,
    pub type_id: u32,
    pub r#type: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<Account<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub programmatic_credentials: Option<[Credential<'r>; 1]>,
}

#[derive(Serialize)]
pub(super) struct Account<'r> {
    pub uid: &'r str,
}

#[derive(Serialize)]
pub(super) struct Credential<'r> {
    pub uid: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub r#type: Option<&'r str>,
}

#[derive(Serialize)]
pub(super) struct Api<'r> {
    pub operation: &'r str,
}

#[derive(Serialize)]
pub(super) struct Endpoint<'r> {
    pub ip: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Location<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autonomous_system: Option<Named<'r>>,
}

#[derive(Serialize)]
pub(super) struct Location<'r> {
    pub country: &'r str,
}

#[derive(Serialize)]
pub(super) struct HttpRequest<'r> {
    pub user_agent: &'r str,
}

#[derive(Serialize)]
pub(super) struct File<'r> {
    pub name: &'r str,
    pub path: &'r str,
    pub type_id: u32,
    pub r#type: &'static str,
}

#[derive(Serialize)]
pub(super) struct Enrichment<'r> {
    pub name: String,
    pub value: Cow<'r, str>,
    pub r#type: Cow<'r, str>,
    pub provider: Cow<'r, str>,
    pub short_desc: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_time: Option<i64>,
    pub data: Data<'r>,
}

/// What a lookup gave: never an empty object where nothing is known.
#[derive(Serialize)]
pub(super) struct Data<'r> {
    pub state: Cow<'r, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<Why>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub values: Option<&'r RawValue>,
}

#[derive(Serialize)]
pub(super) struct Observable<'r> {
    pub name: &'static str,
    pub type_id: u32,
    pub r#type: &'static str,
    pub value: &'r str,
}

#[derive(Serialize)]
pub(super) struct Metadata<'r> {
    pub version: &'static str,
    pub profiles: [&'static str; 1],
    pub product: Product<'r>,
    pub uid: Hash,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_uid: Option<&'r str>,
    pub log_name: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_provider: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reporter: Option<Named<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_event_uid: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_time: Option<String>,
    pub logged_time: i64,
    pub processed_time: i64,
}

#[derive(Serialize)]
pub(super) struct Product<'r> {
    pub name: &'static str,
    pub vendor_name: &'static str,
    pub version: &'r str,
}

/// What OCSF has no place for.
#[derive(Serialize)]
pub(super) struct Unmapped<'r> {
    pub record: outputs::Named<'r>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case_id: Option<&'r Id>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline: Option<&'r str>,
    pub playbook: &'r str,
    pub rule: &'r str,
    pub fate: &'r Ruling<'r>,
}
