//! What can be seen from outside: every metric's name, the health answers, the log's form.
//!
//! Labels are closed lists of ours; nothing that an alert says ever becomes one.

mod health;
mod logs;
mod lookups;
mod metrics;
mod topics;

pub use health::{Health, Purge, listen, serve};
pub use logs::{hide_panic_messages, start_logs};
pub use lookups::{CacheMetrics, CallMetrics, InFlight, LookupMetrics};
pub use metrics::Metrics;
pub use topics::TopicMetrics;
