//! Which tests run beside which, and the broker that most of them share.

use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::kafka::Kafka;

/// Written by a test that times what it sees, read by every other.
static MACHINE: RwLock<()> = RwLock::new(());
static SHARED: OnceLock<Option<Kafka>> = OnceLock::new();

/// A place beside other tests. With an own broker for who stops it, or counts all that is on it.
pub fn beside() -> RwLockReadGuard<'static, ()> {
    MACHINE.read().unwrap_or_else(PoisonError::into_inner)
}

/// The whole machine.
pub fn alone() -> RwLockWriteGuard<'static, ()> {
    MACHINE.write().unwrap_or_else(PoisonError::into_inner)
}

/// A place beside other tests, at a broker that nobody stops and that has topics of others.
///
/// `None`, after one line that says why, where Kafka cannot run.
pub fn shared() -> Option<(RwLockReadGuard<'static, ()>, String)> {
    let place = beside();
    let started = || Kafka::start(&[]).inspect(Kafka::end_with_this_process);
    let kafka = SHARED.get_or_init(started).as_ref()?;
    Some((place, kafka.bootstrap()))
}
