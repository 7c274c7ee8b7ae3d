use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// Which addresses a service may be at: those of the public internet, and those that are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    pub listed: Vec<IpNet>,
    /// What is asked in the clear may only be at addresses that are listed.
    pub only_listed: bool,
}

impl Reach {
    /// Mapped forms of an address are that address.
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.listed.iter().any(|network| network.contains(&address))
            || (!self.only_listed && is_public(address))
    }
}

/// By IANA's registries of special addresses.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !SPECIAL_V4.iter().any(|(base, length)| holds_v4(*base, *length, address))
        }
        IpAddr::V6(address) => {
            holds_v6(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3, address)
                && !SPECIAL_V6.iter().any(|(base, length)| holds_v6(*base, *length, address))
        }
    }
}

fn holds_v4(base: Ipv4Addr, length: u8, address: Ipv4Addr) -> bool {
    Ipv4Net::new(base, length).is_ok_and(|network| network.contains(&address))
}

fn holds_v6(base: Ipv6Addr, length: u8, address: Ipv6Addr) -> bool {
    Ipv6Net::new(base, length).is_ok_and(|network| network.contains(&address))
}

const SPECIAL_V4: &[(Ipv4Addr, u8)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // Link-local: metadata of clouds is here.
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    // Multicast, reserved, broadcast.
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Inside 2000::/3; all that is outside is special.
const SPECIAL_V6: &[(Ipv6Addr, u8)] = &[
    // Protocol assignments, with Teredo, which holds IPv4 addresses.
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    // 6to4, which holds IPv4 addresses.
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(listed: &[&str], only_listed: bool) -> Reach {
        Reach { listed: listed.iter().map(|net| net.parse().unwrap()).collect(), only_listed }
    }

    #[test]
    fn what_is_not_public_must_be_listed() {
        let open = reach(&[], false);
        for special in [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "198.18.0.1",
            "192.0.0.170",
            "::",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:0:7f00:1::",
            "2001:db8::1",
        ] {
            assert!(!open.permits(special.parse().unwrap()), "{special}");
        }
        for public in
            ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2600::1", "2a00:1450::1", "::ffff:8.8.8.8"]
        {
            assert!(open.permits(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn listed_ones_are_permitted_in_any_form_and_in_the_clear_only_they() {
        let listed = reach(&["127.0.0.0/8", "fd00::/8"], true);
        for address in ["127.0.0.1", "::ffff:127.0.0.1", "fd00::1"] {
            assert!(listed.permits(address.parse().unwrap()), "{address}");
        }
        for address in ["8.8.8.8", "10.0.0.1", "::1"] {
            assert!(!listed.permits(address.parse().unwrap()), "{address}");
        }
    }
}
