use std::pin::Pin;

use crate::case::Value;
use crate::service::Failure;

pub type BoxFuture<'f, T> = Pin<Box<dyn Future<Output = T> + Send + 'f>>;

/// What a source said to one key.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// In the order of the enricher's `provides`.
    Known(Vec<Value<'static>>),
    Absent,
}

/// One source that is asked over the network, one key at a time.
pub trait Remote: Send + Sync + 'static {
    /// Errors: whatever is not plainly an answer; never read as absence.
    fn fetch<'r>(&'r self, key: &'r str) -> BoxFuture<'r, Result<Found, Failure>>;
}
