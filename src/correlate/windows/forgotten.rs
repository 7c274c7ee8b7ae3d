use serde::{Deserialize, Serialize};

use super::track::Track;
use crate::case::Millis;

/// Up to when a key that is not there may have had something, all of which is gone.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forgotten {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub counted: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub then: Option<i64>,
}

impl Forgotten {
    pub fn add(&mut self, track: &Track) {
        self.rise(Self { counted: track.counted, then: track.then });
    }

    pub fn rise(&mut self, to: Self) {
        self.counted = self.counted.max(to.counted);
        self.then = self.then.max(to.then);
    }

    /// What is out of reach may be forgotten, too.
    pub fn end(&mut self, received_at: Millis, kept_ms: i64) {
        for until in [&mut self.counted, &mut self.then] {
            *until = until.filter(|until| received_at.since(Millis(*until)) <= kept_ms);
        }
    }
}
