//! What can be seen from outside: every metric's name, the health answers, the log's form, spans.
//!
//! Labels are closed lists of ours; nothing that an alert says ever becomes one.

mod health;
mod logs;
mod lookups;
mod memory;
mod metrics;
mod policy;
mod traces;
mod topics;

pub use health::{Health, Purge, listen, serve};
pub use logs::{hide_panic_messages, start_logs};
pub use lookups::{CacheMetrics, CallMetrics, InFlight, LookupMetrics};
pub use memory::MemoryMetrics;
pub use metrics::Metrics;
pub use policy::{Names as PolicyNames, PolicyMetrics};
pub use topics::TopicMetrics;
pub use traces::{AlertTrace, Batch, CallSpan, Carried, Delivered, Here, Traces, Within, Work};
