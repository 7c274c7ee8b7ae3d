use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::ocsf::{
    Account, Actor, Analytic, Api, Attack, CATEGORY_UID, CLASS_UID, Credential, Data,
    DetectionFinding, Endpoint, Entity, Enrichment, Enum, Evidence, File, FindingInfo,
    HttpRequest, Location, Metadata, Named, Observable, PROFILES, Product, Resource, Tag,
    Unmapped, User, VERSION,
};
