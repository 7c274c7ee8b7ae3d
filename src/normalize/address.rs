use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The address in what detectors write for one: a port, brackets and a zone are taken off. Names of
/// services, host names and words for "none" are no address.
pub(super) fn address_of(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    // These are written in one way only.
    if text.parse::<Ipv4Addr>().is_ok() {
        return Some(text);
    }
    let text = text.trim();
    let without_zone = |text: &str| text.split_once('%').map_or(text, |(ip, _)| ip).to_owned();
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let bare = match bracketed {
        Some((ip, _)) => without_zone(ip),
        None => without_zone(text),
    };
    let ip: IpAddr = match bare.parse() {
        Ok(ip) => ip,
        Err(_) => text.parse::<SocketAddr>().ok()?.ip(),
    };
    Some(Cow::Owned(ip.to_canonical().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_are_addresses() {
        for (text, expected) in [
            ("192.0.2.7", Some("192.0.2.7")),
            (" 192.0.2.7:443", Some("192.0.2.7")),
            ("2001:DB8:0::1", Some("2001:db8::1")),
            ("[2001:db8::1]:443", Some("2001:db8::1")),
            ("[2001:db8::1]", Some("2001:db8::1")),
            ("fe80::1%eth0", Some("fe80::1")),
            ("::ffff:192.0.2.7", Some("192.0.2.7")),
            ("cloudtrail.amazonaws.com", None),
            ("AWS Internal", None),
            ("192.030.0.6", None),
            ("<null>", None),
            ("", None),
        ] {
            assert_eq!(address_of(text.into()).as_deref(), expected, "{text}");
        }
    }
}
