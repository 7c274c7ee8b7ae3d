use super::outbox::Outbox;
pub use crate::ingest::Hint;
use crate::ingest::{Doubt, LogReader, Message};

/// Where an input partition goes on, or why it cannot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    At { topic: String, partition: i32, offset: i64 },
    Blocked { topic: String, partition: i32, why: String },
}

/// Messages in the order in which each partition holds them.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    pub messages: &'a [Message<'a>],
}

/// What a worker does with its batches.
pub trait Stage {
    /// The partitions whose end must be settled before this input partition is recovered: those on
    /// which its earlier outcomes were written.
    fn depends_on(&self, topic: &str, partition: i32) -> Vec<(String, i32)>;

    /// Restores the state from the log alone and says where each input partition starts.
    ///
    /// Called after older producers of this worker are fenced and the log is settled. `assigned` is
    /// all there is: state of any other partition is to be forgotten. Whatever recovery must write
    /// goes into the next [`Stage::process`].
    fn recover(&mut self, assigned: &[Hint], log: &LogReader) -> Result<Vec<Start>, Doubt>;

    /// Rules one batch, which is empty right after a recovery and on idle ticks. For every input
    /// partition touched it says the next offset. `log` is for what is needed again after a long
    /// time. False: there is nothing to commit.
    fn process(&mut self, batch: &Batch<'_>, log: &LogReader, out: &mut Outbox<'_>) -> bool;

    /// Whether partitions that were blocked are worth another try at once; true once for each news.
    fn has_news(&mut self) -> bool {
        false
    }

    /// The broker acknowledged the transaction of the last [`Stage::process`].
    fn committed(&mut self);
}
