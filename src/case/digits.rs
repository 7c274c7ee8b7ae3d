//! Bytes written in text.

pub(crate) fn hex(bytes: &[u8]) -> String {
    // Not zeros: memory that is to be zero takes the allocator longer.
    let mut text = vec![b'0'; bytes.len() * 2];
    put_hex(bytes, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// `text` has room for two digits a byte. Without a table, so that many are made at once.
pub(crate) fn put_hex(bytes: &[u8], text: &mut [u8]) {
    let digit = |nibble: u8| nibble + if nibble < 10 { b'0' } else { b'a' - 10 };
    for (digits, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *digits = [digit(byte >> 4), digit(byte & 15)];
    }
}

/// Nothing but hexadecimal digits is taken as hexadecimal.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let (pairs, rest) = digits.as_deref().map(<[u8]>::as_chunks::<2>)?;
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

/// Of either alphabet, with or without its padding; line ends in it are passed over.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut bits_len) = (0_u32, 0_u32);
    for byte in text.trim_end_matches(['\r', '\n', '=']).bytes() {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'\r' | b'\n' => continue,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(digit);
        bits_len += 6;
        if bits_len >= 8 {
            bits_len -= 8;
            out.extend(u8::try_from((bits >> bits_len) & 0xff));
        }
    }
    // One digit alone holds no byte.
    (bits_len < 6).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_in_every_writing() {
        for (text, bytes) in [
            ("", Some(vec![])),
            ("Zg==", Some(b"f".to_vec())),
            ("Zg", Some(b"f".to_vec())),
            ("Zm9v\r\nYmE=\n", Some(b"fooba".to_vec())),
            ("+/-_", Some(vec![0xfb, 0xff, 0xbf])),
            ("Zm9vY", None),
            ("Zm9v!", None),
            ("Z=g", None),
        ] {
            assert_eq!(from_base64(text), bytes, "{text}");
        }
    }

    #[test]
    fn hexadecimal_goes_both_ways() {
        assert_eq!(from_hex(&hex(&[0, 0x7f, 0xff])), Some(vec![0, 0x7f, 0xff]));
        assert_eq!(from_hex("FFaB"), Some(vec![0xff, 0xab]));
        for wrong in ["f", "0g", "+1", "é"] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }
}
