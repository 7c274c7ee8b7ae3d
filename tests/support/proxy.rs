//! A TCP proxy that can be late with the end of a transaction.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const END_TXN: u16 = 26;

/// What to do with requests that end a transaction.
#[derive(Clone, Copy, Default)]
pub struct Plan {
    /// How many of the next ones to hold.
    pub next: usize,
    /// Beyond these, how many of a thousand.
    pub per_mille: u64,
    pub seed: u64,
    pub delay: Duration,
    /// Cut the client off while its request is held; the broker's side stays open.
    pub cut: bool,
}

#[derive(Default)]
struct Shared {
    plan: Mutex<Plan>,
    upstream: AtomicU16,
    held: AtomicUsize,
    waiting: AtomicUsize,
    late: Mutex<Vec<i16>>,
    is_closed: AtomicBool,
}

pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens, but forwards only after [`Proxy::forward`]: the broker has to know the port first.
    pub fn bind() -> Proxy {
        let port = super::kafka::free_ports(1)[0];
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let shared = Arc::new(Shared::default());
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if accepting.is_closed.load(SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || serve(client, &shared));
            }
        });
        Proxy { port, shared }
    }

    pub fn forward(&self, upstream: u16) {
        self.shared.upstream.store(upstream, SeqCst);
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn plan(&self, plan: Plan) {
        *self.shared.plan.lock().unwrap() = plan;
    }

    /// Requests held so far.
    pub fn held(&self) -> usize {
        self.shared.held.load(SeqCst)
    }

    /// Requests that are being held now.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(SeqCst)
    }

    /// The broker's error codes for requests that were let go after their client was gone.
    pub fn late(&self) -> Vec<i16> {
        self.shared.late.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.is_closed.store(true, SeqCst);
        TcpStream::connect(("127.0.0.1", self.port)).ok();
    }
}

fn serve(client: TcpStream, shared: &Arc<Shared>) {
    let Ok(broker) = TcpStream::connect(("127.0.0.1", shared.upstream.load(SeqCst))) else {
        return;
    };
    client.set_nodelay(true).ok();
    broker.set_nodelay(true).ok();
    let is_cut = Arc::new(AtomicBool::new(false));
    let back = {
        let (client, broker) = (client.try_clone().unwrap(), broker.try_clone().unwrap());
        let (shared, is_cut) = (Arc::clone(shared), Arc::clone(&is_cut));
        std::thread::spawn(move || answers(broker, client, &shared, &is_cut))
    };
    requests(client, &broker, shared, &is_cut);
    broker.shutdown(Shutdown::Both).ok();
    back.join().ok();
}

fn requests(mut client: TcpStream, mut broker: &TcpStream, shared: &Shared, is_cut: &AtomicBool) {
    let mut frame = Vec::new();
    loop {
        let mut length = [0; 4];
        if client.read_exact(&mut length).is_err() {
            return;
        }
        let size = usize::try_from(u32::from_be_bytes(length)).unwrap();
        frame.clear();
        frame.extend_from_slice(&length);
        frame.resize(4 + size, 0);
        if client.read_exact(&mut frame[4..]).is_err() {
            return;
        }
        let key = u16::from_be_bytes([frame[4], frame[5]]);
        let held = (key == END_TXN).then(|| decide(shared)).flatten();
        if let Some((delay, cut)) = held {
            shared.held.fetch_add(1, SeqCst);
            shared.waiting.fetch_add(1, SeqCst);
            if cut {
                is_cut.store(true, SeqCst);
                client.shutdown(Shutdown::Both).ok();
            }
            std::thread::sleep(delay);
            let sent = broker.write_all(&frame);
            if cut {
                // Until the broker has answered nobody.
                std::thread::sleep(Duration::from_millis(200));
            }
            shared.waiting.fetch_sub(1, SeqCst);
            if cut || sent.is_err() {
                return;
            }
        } else if broker.write_all(&frame).is_err() {
            return;
        }
    }
}

fn decide(shared: &Shared) -> Option<(Duration, bool)> {
    let mut plan = shared.plan.lock().unwrap();
    if plan.next > 0 {
        plan.next -= 1;
        return Some((plan.delay, plan.cut));
    }
    plan.seed = plan.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    ((plan.seed >> 33) % 1000 < plan.per_mille).then_some((plan.delay, plan.cut))
}

fn answers(mut broker: TcpStream, mut client: TcpStream, shared: &Shared, is_cut: &AtomicBool) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let Ok(count @ 1..) = broker.read(&mut buffer) else {
            client.shutdown(Shutdown::Both).ok();
            return;
        };
        if is_cut.load(SeqCst) {
            // The error code ends the answer to this request.
            if count >= 2 {
                let code = i16::from_be_bytes([buffer[count - 2], buffer[count - 1]]);
                shared.late.lock().unwrap().push(code);
            }
        } else {
            client.write_all(&buffer[..count]).ok();
        }
    }
}
