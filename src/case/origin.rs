use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::digits::hex;

/// A derived id: 32 hexadecimal digits (128 bits) of a SHA-256. Never depends on a retry.
pub type Id = String;

/// An id of what it is and of parts, each with its length in front, so that no two lists of parts
/// hash alike.
pub struct IdOf(Sha256);

impl IdOf {
    pub fn new(what: &str) -> Self {
        let mut id = Self(Sha256::new());
        id.part(what.as_bytes());
        id
    }

    pub fn part(&mut self, part: &[u8]) {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part);
    }

    pub fn id(self) -> Id {
        hex(self.0.finalize().get(..16).unwrap_or_default())
    }
}

pub fn id_of(what: &str, parts: &[&[u8]]) -> Id {
    let mut id = IdOf::new(what);
    parts.iter().for_each(|part| id.part(part));
    id.id()
}

/// In front of the pipeline's name in the origin of what came over HTTP. No topic's name has a `:`.
pub const WEBHOOK: &str = "webhook:";

/// Where an alert came from: one place in one incarnation of a topic, and which of how many it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin<'a> {
    #[serde(borrow)]
    pub topic: Cow<'a, str>,
    /// The broker's topic id: a topic that was deleted and made again is another.
    #[serde(borrow)]
    pub incarnation: Cow<'a, str>,
    pub partition: i32,
    pub offset: i64,
    /// From 0; `of` of them came from this message.
    pub index: u32,
    pub of: u32,
    /// Of the message as the detector sent it.
    #[serde(borrow)]
    pub sha256: Cow<'a, str>,
}

impl Origin<'_> {
    pub fn alert_id(&self) -> Id {
        id_of(
            "alert",
            &[
                self.topic.as_bytes(),
                self.incarnation.as_bytes(),
                &self.partition.to_be_bytes(),
                &self.offset.to_be_bytes(),
                &self.index.to_be_bytes(),
            ],
        )
    }

    pub fn is_webhook(&self) -> bool {
        self.topic.starts_with(WEBHOOK)
    }

    pub fn into_owned(self) -> Origin<'static> {
        Origin {
            topic: Cow::Owned(self.topic.into_owned()),
            incarnation: Cow::Owned(self.incarnation.into_owned()),
            sha256: Cow::Owned(self.sha256.into_owned()),
            ..self
        }
    }
}
