//! Ports for servers of ours.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::TcpListener;
use std::time::Instant;

/// Below the range from which the system takes the ports of outgoing connections, so that they are
/// still free after a restart.
pub fn free_ports(count: usize) -> Vec<u16> {
    let mut ports = Vec::new();
    while ports.len() < count {
        let port = 20_000 + u16::try_from(chance() % 12_000).unwrap();
        if !ports.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            ports.push(port);
        }
    }
    ports
}

pub fn chance() -> u64 {
    RandomState::new().hash_one(Instant::now())
}
