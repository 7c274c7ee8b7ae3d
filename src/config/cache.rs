use super::words::{bytes, duration};
use crate::text::{Fields, Node, Problems};

/// How long an answer serves. Each lifetime is drawn within a tenth of it, so that what was asked
/// together is not asked again together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheConfig {
    pub hit_ms: i64,
    pub absent_ms: i64,
    /// That long a failure is not tried again for the key.
    pub failure_ms: i64,
    /// That long past its lifetime an answer serves while it is asked for again.
    pub stale_ms: i64,
    pub max_bytes: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            hit_ms: 300_000,
            absent_ms: 60_000,
            failure_ms: 10_000,
            stale_ms: 3_600_000,
            max_bytes: 64 * 1024 * 1024,
        }
    }
}

const DAY_MS: i64 = 86_400_000;
const BYTES_MAX: usize = 16 * 1024 * 1024 * 1024;

pub(super) fn cache(node: &Node, problems: &mut Problems) -> CacheConfig {
    let mut cache = CacheConfig::default();
    let Some(mut fields) = Fields::of(node, "`cache`", problems) else { return cache };
    for (key, slot, limits) in [
        ("hit", &mut cache.hit_ms, (100, 30 * DAY_MS)),
        ("absent", &mut cache.absent_ms, (100, 30 * DAY_MS)),
        ("failure", &mut cache.failure_ms, (100, 600_000)),
        ("stale", &mut cache.stale_ms, (0, 30 * DAY_MS)),
    ] {
        *slot = duration(&mut fields, key, limits, problems).unwrap_or(*slot);
    }
    let max_bytes = bytes(&mut fields, "max_bytes", (64 * 1024, BYTES_MAX), problems);
    cache.max_bytes = max_bytes.map_or(cache.max_bytes, |bytes| bytes as u64);
    fields.finish(problems);
    cache
}
