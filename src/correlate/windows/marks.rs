use serde::{Deserialize, Serialize};

use crate::case::{Count, Mark, Millis};

/// Distinct values of one field that a key keeps. LIMIT: of more it is known that there are more.
pub const DISTINCT_MAX: usize = 64;

/// Distinct values, each with when it was seen last.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// By the value.
    kept: Vec<(Mark, i64)>,
    /// When the newest of those that are not kept was seen last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    more: Option<i64>,
}

impl Marks {
    pub fn add(&mut self, mark: Mark, at: Millis) {
        match self.kept.binary_search_by_key(&mark, |(kept, _)| *kept) {
            Ok(place) => {
                if let Some((_, last)) = self.kept.get_mut(place) {
                    *last = (*last).max(at.0);
                }
            }
            Err(place) => self.kept.insert(place, (mark, at.0)),
        }
        if self.kept.len() > DISTINCT_MAX
            && let Some((place, last)) = self.oldest()
        {
            self.kept.remove(place);
            self.more = self.more.max(Some(last));
        }
    }

    fn oldest(&self) -> Option<(usize, i64)> {
        let places =
            self.kept.iter().enumerate().map(|(place, (mark, last))| (*last, *mark, place));
        places.min().map(|(last, _, place)| (place, last))
    }

    pub fn drop_before(&mut self, start: Millis) {
        self.kept.retain(|(_, last)| *last >= start.0);
        self.more = self.more.filter(|last| *last >= start.0);
    }

    pub fn count(&self, start: Millis, is_whole: bool) -> Count {
        let kept = self.kept.iter().filter(|(_, last)| *last >= start.0).count();
        let count = i64::try_from(kept).unwrap_or(i64::MAX);
        if is_whole && self.more.is_none_or(|last| last < start.0) {
            Count::Exactly(count)
        } else {
            Count::AtLeast { at_least: count }
        }
    }

    pub fn len(&self) -> usize {
        self.kept.len()
    }
}
