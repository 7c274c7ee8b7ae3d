use super::claim::{Claim, Letter};
use super::fetch::{Fetch, Unreached};
use super::sender::Headers;
use crate::case::Millis;
use crate::config::SnsTopic;

/// One pipeline's topics at Amazon SNS.
pub struct Sns {
    topics: Vec<SnsTopic>,
    /// Either way, beside the time for which a message is sent again.
    window_ms: i64,
    fetch: Fetch,
}

impl Sns {
    /// Errors: when the certificates of this machine can't be read.
    pub fn new(topics: Vec<SnsTopic>, window_ms: i64) -> Result<Self, reqwest::Error> {
        Ok(Self { topics, window_ms, fetch: Fetch::new(reqwest::Client::builder())? })
    }

    /// Nothing when the request does not prove that one of the topics sent it, or not in time. A
    /// subscription is confirmed here.
    pub(super) async fn letter(
        &self,
        headers: &Headers<'_>,
        body: &[u8],
        now: Millis,
    ) -> Result<Option<Letter>, Unreached> {
        let Some(claim) = Claim::read(&self.topics, headers, body, (now, self.window_ms)) else {
            return Ok(None);
        };
        let certificate = self.fetch.certificate(claim.certificate_url()).await?;
        let letter = claim.signed_by(&certificate, now);
        if let Some(Letter::SubscriptionConfirmation { url, .. }) = &letter {
            self.fetch.get(url).await?;
        }
        Ok(letter)
    }
}
