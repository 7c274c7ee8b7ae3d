use rdkafka::Timestamp;
use rdkafka::message::{
    BorrowedHeaders, BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders,
};

/// One record of a topic. It borrows the client's own buffer and lives no longer than its batch.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    pub topic: &'a str,
    pub partition: i32,
    pub offset: i64,
    /// The broker's or producer's time in milliseconds since 1970; 0 when the record has none.
    pub timestamp_ms: i64,
    /// Whether that is the broker's, which no producer can choose.
    pub is_broker_time: bool,
    pub key: Option<&'a [u8]>,
    /// `None` is a tombstone, which is not the same as an empty value.
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

impl<'a> Message<'a> {
    pub(super) fn of(message: &'a BorrowedMessage<'_>) -> Message<'a> {
        Message {
            topic: message.topic(),
            partition: message.partition(),
            offset: message.offset(),
            timestamp_ms: message.timestamp().to_millis().unwrap_or(0),
            is_broker_time: matches!(message.timestamp(), Timestamp::LogAppendTime(_)),
            key: message.key(),
            value: message.payload(),
            headers: message.headers().map_or(Headers::NONE, |h| Headers(Inner::Kafka(h))),
        }
    }

    /// Bytes of key and value together.
    pub fn size(&self) -> usize {
        self.key.map_or(0, <[u8]>::len) + self.value.map_or(0, <[u8]>::len)
    }
}

/// A message's headers in their order; a name may occur more than once.
#[derive(Clone, Copy)]
pub struct Headers<'a>(Inner<'a>);

#[derive(Clone, Copy)]
enum Inner<'a> {
    Kafka(&'a BorrowedHeaders),
    Plain(&'a [(&'a str, &'a [u8])]),
}

impl<'a> Headers<'a> {
    pub const NONE: Headers<'static> = Headers(Inner::Plain(&[]));

    pub fn plain(headers: &'a [(&'a str, &'a [u8])]) -> Headers<'a> {
        Headers(Inner::Plain(headers))
    }

    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let count = match self.0 {
            Inner::Kafka(headers) => headers.count(),
            Inner::Plain(headers) => headers.len(),
        };
        (0..count).filter_map(move |at| match self.0 {
            Inner::Kafka(headers) => {
                headers.try_get(at).map(|header| (header.key, header.value.unwrap_or_default()))
            }
            Inner::Plain(headers) => headers.get(at).copied(),
        })
    }

    /// The first header of this name.
    pub fn get(self, name: &str) -> Option<&'a [u8]> {
        self.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

/// Of a record that is sent.
pub(super) fn owned(headers: &[(&str, &[u8])]) -> Option<OwnedHeaders> {
    if headers.is_empty() {
        return None;
    }
    let all = OwnedHeaders::new_with_capacity(headers.len());
    Some(
        headers
            .iter()
            .fold(all, |all, (key, value)| all.insert(Header { key, value: Some(*value) })),
    )
}

impl std::fmt::Debug for Headers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}
