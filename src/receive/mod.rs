//! HTTP: webhooks' deliveries, told from forgeries, counted against limits, repeats left out.
//!
//! In: requests to `POST /v1/alerts/<pipeline>`. Out: deliveries whose sender is known, and an
//! answer to each request. What must stay true: 202 is said only after [`Deliver`] said that the
//! brokers have it; a body is never held beyond its limit; a refusal never says which part was
//! wrong; nobody is asked but Amazon SNS, at hosts that the configuration's topics name, within a
//! time and a size. Deliberately absent: TLS, which ends at the proxy in front, and what a body
//! means.

mod answer;
mod claim;
mod fetch;
mod memory;
mod routes;
mod sender;
mod signature;
mod sns;

pub use answer::Delivered;
pub use memory::Memory;
pub use routes::{Deliver, Door, Doors, Limits, serve};
pub use sender::{Delivery, Headers, Sender, Verified};
pub use sns::Sns;
