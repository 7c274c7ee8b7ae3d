use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::case::Millis;
use crate::ingest::{Doubt, Publisher};

/// A case that a sink could not deliver as it is, and where it still stands. Gone from the topic
/// once it was delivered all the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked<'p> {
    pub v: u32,
    #[serde(borrow)]
    pub sink: Cow<'p, str>,
    #[serde(borrow)]
    pub case_id: Cow<'p, str>,
    /// `<case id>/<revision>`
    #[serde(borrow)]
    pub key: Cow<'p, str>,
    #[serde(borrow)]
    pub topic: Cow<'p, str>,
    pub partition: i32,
    pub offset: i64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub status: Option<u16>,
    /// Never what the service answered.
    #[serde(borrow)]
    pub reason: Cow<'p, str>,
    pub at: Millis,
}

impl Parked<'static> {
    /// Nothing when it is not one of ours.
    pub fn read(value: &[u8]) -> Option<Self> {
        let read: Parked<'_> = serde_json::from_slice(value).ok()?;
        let Parked { v, partition, offset, status, at, .. } = read;
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        Some(Self {
            v,
            sink: owned(read.sink),
            case_id: owned(read.case_id),
            key: owned(read.key),
            topic: owned(read.topic),
            partition,
            offset,
            status,
            reason: owned(read.reason),
            at,
        })
    }
}

impl Parked<'_> {
    /// What the topic is compacted by.
    pub fn place(&self) -> String {
        format!("{}/{}", self.sink, self.key)
    }

    /// Errors: it may be written or not.
    pub async fn write(&self, publisher: &Publisher, topic: &str) -> Result<(), Doubt> {
        let value =
            serde_json::to_vec(self).map_err(|error| Doubt::Refused(format!("parked: {error}")))?;
        let place = self.place();
        publisher.send(topic, 0, (place.as_bytes(), &value), &[])?.acknowledged().await
    }
}
