//! Kafka: the only module that names rdkafka.
//!
//! In: broker addresses and topic names. Out: batches of borrowed messages, transactions, and reads
//! of the log up to a stated end. What must stay true: a transaction is committed or abandoned,
//! never aborted and never tried again, because a late abort or commit can land on a later
//! transaction. Deliberately absent: split partition queues, stream consumers and automatic
//! commits.

mod binding;
mod client;
mod consumer;
mod embedded;
mod error;
mod log;
mod message;
mod producer;
mod publisher;
mod settings;
mod topics;
mod writer;

pub use consumer::{BatchLimits, Consumer, Held, Hint, Membership};
pub use embedded::Embedded;
pub use error::Doubt;
pub use log::{LogReader, Stored};
pub use message::{Headers, Message};
pub use producer::{CommitTook, NextOffset, NextOffsets, Producer, Txn};
pub use publisher::{Publisher, Receipt};
pub use settings::{Brokers, Settings, SettingsError};
pub use topics::{Admin, Created, TopicIdError, TopicSpec};
pub use writer::{Starts, Writer};
