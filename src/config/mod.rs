//! All files of a configuration in, one checked configuration out, or every mistake in every file.
//!
//! Nothing is bound or connected before this has succeeded, and nothing here opens a network
//! connection. Reading directories, the environment and key files is the shell's part (`disk`).
//! Tables of enrichers are data, not policy: `enrich` reads them, and their rows carry their own
//! version.

mod addresses;
mod aws;
mod combine;
mod cache;
#[cfg(feature = "shell")]
mod disk;
mod enricher;
mod examples;
mod files;
mod http;
mod http_facts;
mod load;
mod parts;
mod reach;
mod reply_path;
mod schemas;
mod secret;
mod service;
mod signing;
pub mod sink;
mod sns;
mod systems;
mod template;
mod topic;
mod traces;
mod via;
mod webhooks;
mod words;

pub use crate::normalize::WEBHOOK_ROOT;
pub use addresses::{AddressList, AddressSource, Given, ListFormat};
pub use aws::{IamGiven, IamSource};
pub use cache::CacheConfig;
pub use combine::{CombineSource, Part, WhenUnknown};
#[cfg(feature = "shell")]
pub use disk::{Look, Stamp, stamp};
pub use enricher::{EnricherConfig, KeySpec, SourceConfig, TableFormat, TableSource};
pub use files::{File, Files, SERVICE_FILE};
pub use http::{AbsentWhen, Body, HttpCall, HttpConfig, Next, Pages, Pattern, Read, Unlike};
pub use http_facts::{Case, FactAt, How, HttpFact, Place, Test};
pub use load::{Checked, load};
pub use reach::Reach;
pub use reply_path::{ReplyPath, scalar};
pub use schemas::{SCHEMAS, schema_kind};
pub use secret::{ResolvedSecrets, Secret, SecretFrom};
pub use service::{
    BatchConfig, FingerprintConfig, LogConfig, Paths, Property, ServiceConfig, Start, TopicsConfig,
    WorkersConfig,
};
pub use signing::{OrdersConfig, SigningConfig};
pub use sink::{CallbackConfig, SinkConfig};
pub use sns::SnsTopic;
pub use systems::{
    AllSystemSecrets, AwsKeys, BreakerConfig, Login, SecretAt, Sent, Shown, SystemConfig,
    SystemLimits, SystemSecrets,
};
pub use template::{Piece, Template};
pub use topic::{TopicKey, TopicSource};
pub use traces::TracesConfig;
pub use via::Via;
pub use webhooks::{
    CallbacksConfig, NamedSecrets, Proof, Verify, WebhookConfig, WebhookSecret, WebhooksConfig,
};
