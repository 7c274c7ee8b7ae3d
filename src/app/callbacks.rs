//! Which sinks' users may acknowledge here, and why others may not.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::{CallbackConfig, CallbacksConfig, SinkConfig};
use crate::pipeline::{AllowedSigners, VouchKey};
use crate::policy::{Code, Finding};
use crate::receive::Callback;
use crate::text::At;

use super::setup::Loaded;
use super::sinks::switched_on;

/// Callbacks that can be taken, and what keeps others from it.
#[derive(Default)]
pub struct Callbacks {
    pub offered: BTreeMap<String, Callback>,
    pub key: Option<VouchKey>,
    pub missing: Vec<Finding>,
}

type Missing = (At, String);

impl Callbacks {
    pub fn of(loaded: &Loaded) -> Self {
        let mut callbacks = Self::default();
        let service = loaded.checked.service.as_ref();
        let config = service.and_then(|service| service.webhooks.as_ref()?.callbacks.as_ref());
        let (on, sinks) = (switched_on(loaded), &loaded.checked.sinks);
        for sink in sinks {
            let Some(callback) = &sink.callback else { continue };
            let listed = config.filter(|config| config.sinks.iter().any(|(n, ..)| *n == sink.name));
            let offered = match listed {
                Some(config) => offered(loaded, config, (sink, callback)),
                None if on.iter().any(|on| on.name == sink.name) => {
                    let why = "`webhooks: {callbacks: …}` of tipstaff.yaml does not name it";
                    Err((callback.at.clone(), why.to_owned()))
                }
                None => continue,
            };
            match offered {
                Ok((offered, key)) => {
                    callbacks.offered.insert(sink.name.clone(), offered);
                    callbacks.key = Some(key);
                }
                Err((at, why)) => {
                    let name = &sink.name;
                    let message = format!("nobody can acknowledge through sink `{name}`: {why}");
                    callbacks.missing.push(Finding { at, code: Code::CallbackOff, message });
                }
            }
        }
        callbacks
    }
}

/// Errors: why not, and where.
fn offered(
    loaded: &Loaded,
    config: &CallbacksConfig,
    (sink, callback): (&SinkConfig, &CallbackConfig),
) -> Result<(Callback, VouchKey), Missing> {
    let here = |why: String| (config.at.clone(), why);
    let directory = loaded.directory.as_deref().unwrap_or_else(|| Path::new("."));
    let kept = config.kept((&sink.name, &callback.verify), directory);
    let (key, secrets) = kept.map_err(|problems| {
        let first = problems.into_iter().next();
        first.map_or_else(|| here("a secret is missing".to_owned()), |one| (one.at, one.message))
    })?;
    let told = |why: String| here(format!("{} {why}", config.key));
    let key = VouchKey::read(key.expose_text().unwrap_or_default()).map_err(told)?;
    let public = key.public().map_err(told)?;
    let orders = loaded.checked.service.as_ref().and_then(|service| service.orders.as_ref());
    let file = orders.map_or("", |orders| orders.allowed_signers.as_str());
    let allowed = AllowedSigners::load(&directory.join(file)).map_err(|problems| {
        let first = problems.into_iter().next();
        first.map_or_else(|| here(file.to_owned()), |one| (one.at, one.message))
    })?;
    let person = allowed.person(&public);
    let person = person.ok_or_else(|| told(format!("is nobody's in {file}")))?;
    if !loaded.checked.policy.boundary().authority.is_voucher(person) {
        let why = format!(
            "is `{person}`'s, and `callback` of the boundary's orders does not name a role of that"
        );
        return Err(told(why));
    }
    let window_ms = loaded.checked.service.as_ref().and_then(|s| s.webhooks.as_ref());
    let window_ms = window_ms.map_or(0, |webhooks| webhooks.window_ms);
    Ok((Callback::new(&sink.name, callback.clone(), secrets, window_ms), key))
}
