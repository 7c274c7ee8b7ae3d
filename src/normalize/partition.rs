use sha2::{Digest, Sha256};

use crate::case::{Arrival, Body, Field};

/// What keeps an arrival in order with its like: the NHI's id, or its own id when it is unreadable.
pub fn partition_key<'a>(arrival: &'a Arrival<'_>) -> &'a str {
    match &arrival.body {
        Body::Alert(alert) => alert.text(Field::NhiId).unwrap_or(&arrival.alert_id),
        Body::Unreadable(_) => &arrival.alert_id,
    }
}

/// The partition of a key: the first eight bytes of its SHA-256, read as a big-endian number,
/// modulo the number of partitions.
///
/// Clients' own partitioners differ from one another and with their settings; this one must give
/// the same answer in every language, so its test vectors are part of the format. Without
/// partitions: 0. The name that genesis records give to [`partition_of`].
pub const PARTITION_FUNCTION: &str = "sha256-first8-mod";

pub fn partition_of(key: &str, partitions: i32) -> i32 {
    let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
    let first = digest.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
    let count = u64::try_from(partitions).unwrap_or(0).max(1);
    i32::try_from(first % count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vectors() {
        // e3b0c44298fc1c14…, 2c26b46b68ffc68f… and ba7816bf8f01cfea… as SHA-256 gives them.
        assert_eq!(partition_of("", 12), (0xe3b0_c442_98fc_1c14_u64 % 12) as i32);
        assert_eq!(partition_of("foo", 1_000), (0x2c26_b46b_68ff_c68f_u64 % 1_000) as i32);
        assert_eq!(partition_of("abc", i32::MAX), (0xba78_16bf_8f01_cfea_u64 % 0x7fff_ffff) as i32);
        for (key, of_4, of_12) in [
            ("", 0, 4),
            ("abc", 2, 6),
            ("aws:iam:123456789012:user:ci-deployer", 1, 1),
            ("é", 3, 3),
        ] {
            assert_eq!((partition_of(key, 4), partition_of(key, 12)), (of_4, of_12), "{key}");
        }
        assert_eq!((partition_of("x", 1), partition_of("x", 0), partition_of("x", -1)), (0, 0, 0));
    }
}
