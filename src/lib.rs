//! Tipstaff: triage for alerts about non-human identities, on Kafka.
//!
//! Read downward: this is the way of an alert. `src/ARCHITECTURE.md` has the picture, the
//! invariants and an example of every record.
//!
//! A module may use only what stands above it; a stage never uses another stage (`tests/tidy`).

/// YAML that knows its line and column; problems are collected.
pub mod text;
/// Regular expressions that are asked of every alert, and bytes compared several at once.
pub mod pattern;
/// A detector's JSON by path, without a tree.
pub mod json;
/// The words as types: alert, origin, fact, ruling, reason.
pub mod case;
/// Conditions: parsed, typed, evaluated to true, false or unknown.
pub mod clause;
/// Playbooks and boundary: checked and compiled.
pub mod policy;
/// A detector's message → alerts; secrets → fingerprints.
pub mod normalize;
/// The record chain: written, picked up after a crash, proved.
pub mod audit;
/// What is remembered between alerts: a fold over the chain.
pub mod correlate;
/// (alert, facts, counters, policy, now) → a decision, and from the boundary alone a permit.
pub mod decide;
/// Records → their rulings made again, under two policies, and what differs.
pub mod replay;
/// The tests of playbooks: run, compared, and what they do not reach.
pub mod trial;
/// All files → one checked configuration.
pub mod config;

// ── the shell: everything that touches the world ─────────────────────────────────────────────────

/// Metrics, health, logs, spans.
#[cfg(feature = "shell")]
pub mod observe;
/// HTTP: systems that are asked and told, spared as their limits say.
#[cfg(feature = "shell")]
pub mod service;
/// Lookups: keys of a batch in, facts out by a deadline.
#[cfg(feature = "shell")]
pub mod enrich;
/// HTTP: deliveries of webhooks, their signatures, limits and repeats.
#[cfg(feature = "shell")]
pub mod receive;
/// A case and a sink's file → a request, and what the answer means.
#[cfg(feature = "shell")]
pub mod deliver;
/// Kafka: batches, transactions, reads of the log.
#[cfg(feature = "shell")]
pub mod ingest;
/// The stages put together: intake and triage, one transactional loop, one way to recover.
#[cfg(feature = "shell")]
pub mod pipeline;
/// Start and stop; topics, policies, workers.
#[cfg(feature = "shell")]
pub mod app;
/// The verbs.
#[cfg(feature = "shell")]
pub mod cli;
