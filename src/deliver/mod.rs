//! Cases → requests of a sink, and what the answers mean.
//!
//! In: a case as it is on its topic, a sink's file and its service. Out: one [`Outcome`] a try.
//! What must stay true: what a case says is escaped for where it stands; a credential comes from
//! the service alone; an answer's body is never told. Deliberately absent: Kafka, waiting, trying
//! again.

mod case;
mod memory;
mod outcome;
mod render;

use std::sync::Arc;

use serde::de::IgnoredAny;
use serde_json::Value as Json;

pub use case::{Case, Said};
pub use outcome::Outcome;
pub use render::Missing;

use crate::config::SinkConfig;
use crate::config::scalar;
use crate::service::{Fault, Reply, Service};
use memory::Memory;
use outcome::judge;
use render::{Filler, address};

/// What a template may name beside the case.
#[derive(Debug, Clone, Copy)]
pub struct Known<'k> {
    pub sink: &'k str,
    pub to: Option<&'k str>,
    pub found: Option<&'k str>,
}

/// A sink and where it sends to.
pub struct Sink {
    pub config: SinkConfig,
    service: Arc<Service>,
    /// By case, what the service calls it.
    found: Memory,
}

impl Sink {
    pub fn new(config: SinkConfig, service: Arc<Service>) -> Self {
        Self { config, service, found: Memory::default() }
    }

    /// One try. It may have had its effect whatever is said, but for [`Outcome::Delivered`].
    pub async fn deliver(&self, case: &Case) -> Outcome {
        let config = &self.config;
        let to = config.to.as_ref().map(|to| address(to, case, &config.name));
        let known = Known { sink: &config.name, to: to.as_deref(), found: None };
        let found = match self.find(case, known).await {
            Ok(found) => found,
            Err(outcome) => return outcome,
        };
        let request = config.update.as_ref().filter(|_| found.is_some());
        let request = request.unwrap_or(&config.request);
        let filler = Filler { case, known: Known { found: found.as_deref(), ..known } };
        let call = match filler.call(request) {
            Ok(call) => call,
            Err(missing) => return unfit(&missing),
        };
        let result = self.service.deliver(&call).await;
        let (outcome, body) = judge(result, !request.path.is_filled(), &config.reply);
        if let (Outcome::Delivered { .. }, None) = (&outcome, &found) {
            self.remember(case, &body);
        }
        outcome
    }

    /// What the service calls the case, if it knows it.
    async fn find(&self, case: &Case, known: Known<'_>) -> Result<Option<String>, Outcome> {
        if let Some(found) = self.found.get(case.id()) {
            return Ok(Some(found));
        }
        let Some(find) = &self.config.find else { return Ok(None) };
        let call = Filler { case, known }.call(&find.request).map_err(|missing| unfit(&missing))?;
        let result = self.service.search(&call).await;
        let is_fixed = !find.request.path.is_filled();
        // What can't be read is not nothing found: the case would be made twice.
        if result.as_ref().is_ok_and(is_unreadable) {
            let why = "the answer of the search is no JSON".to_owned();
            return Err(Outcome::Again { class: Fault::ContentType.code(), why, after: None });
        }
        match judge(result, is_fixed, &Default::default()) {
            (Outcome::Delivered { .. }, body) => {
                Ok(find.found.find(&body).first().copied().and_then(scalar))
            }
            (outcome, _) => Err(outcome),
        }
    }

    /// A search may not find what was made a moment ago.
    fn remember(&self, case: &Case, body: &Json) {
        let Some(path) = &self.config.reply.found else { return };
        if let Some(found) = path.find(body).first().copied().and_then(scalar) {
            self.found.put(case.id(), found);
        }
    }
}

fn is_unreadable(reply: &Reply) -> bool {
    let is_json = || serde_json::from_slice::<IgnoredAny>(&reply.body).is_ok();
    matches!(reply.status, 200..=203 | 205..=299) && !is_json()
}

fn unfit(missing: &Missing) -> Outcome {
    let why = format!("the case does not say `{}`, which its path needs", missing.0);
    Outcome::Park { status: None, why }
}
