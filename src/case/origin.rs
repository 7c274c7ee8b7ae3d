use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::digits::hex;

/// A derived id: 32 hexadecimal digits (128 bits) of a SHA-256. Never depends on a retry.
pub type Id = String;

/// Room that hardly any parts outgrow.
const PARTS_BYTES_USUALLY: usize = 256;

/// Hashes parts, each with its length in front, so that no two lists of parts hash alike.
pub fn id_of(what: &str, parts: &[&[u8]]) -> Id {
    let mut bytes = Vec::with_capacity(PARTS_BYTES_USUALLY);
    for part in std::iter::once(what.as_bytes()).chain(parts.iter().copied()) {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part);
    }
    hex(Sha256::digest(bytes).get(..16).unwrap_or_default())
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
