use std::sync::{Arc, PoisonError, RwLock};

use crate::audit::Signer;
use crate::policy::Policy;

/// What workers go by until something newer is put in its place. Each takes it up between two
/// batches, so that a batch works under one. A clone is the same place.
#[derive(Debug)]
pub struct Current<T>(Arc<RwLock<Arc<T>>>);

impl<T> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Current<T> {
    pub fn new(first: Arc<T>) -> Self {
        Self(Arc::new(RwLock::new(first)))
    }

    pub fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub fn put(&self, newer: Arc<T>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = newer;
    }
}

/// A policy that was stored, and what its activation says on every chain.
#[derive(Debug)]
pub struct Active {
    pub policy: Arc<Policy>,
    pub generation: i64,
    pub signers: Vec<Signer<'static>>,
}

impl Active {
    pub fn unsigned(policy: &Arc<Policy>, generation: i64) -> Arc<Self> {
        Arc::new(Self { policy: Arc::clone(policy), generation, signers: Vec::new() })
    }
}
