use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Client, Response, Url};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use super::breaker::{Breaker, Pass};
use super::pace::{Rate, Retries, jittered};
use super::reply::{JSON, is_wanted, pause_asked};
use super::resolver::{Refused, Resolver};
use super::{Call, Failure, Fault, Reply};
use super::{signed, sigv4};
use crate::case::{Millis, duration_text};
use crate::config::{Login, Secret, Sent, Shown, SystemConfig, SystemLimits, SystemSecrets};
use crate::observe::{CallMetrics, Here, LookupMetrics};

/// One system, spared as its limits say, whoever asks it.
pub struct Service {
    name: String,
    url: String,
    identity: String,
    base: Url,
    /// The address in its URL, if one stands there and it may not be asked.
    is_refused: bool,
    client: Client,
    headers: HeaderMap,
    login: Login<Secret>,
    limits: SystemLimits,
    breaker: Arc<Breaker>,
    turns: Semaphore,
    rate: Option<Rate>,
    retries: Retries,
    /// The service asked to be left alone until then.
    paused: Mutex<Option<Instant>>,
    metrics: CallMetrics,
}

/// What of an answer is waited for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Body,
    /// Its body may be of any kind, too large or cut off.
    Status,
}

/// A failure, and whether the next try may go better.
struct Tried {
    failure: Failure,
    again_after: Option<Duration>,
}

const CONNECT: Duration = Duration::from_secs(3);
/// Names are resolved again after this long without a request.
const IDLE: Duration = Duration::from_secs(30);
/// Of a service that says 429 and not how long.
const PAUSE: Duration = Duration::from_secs(1);
/// Worth waiting for, where it is said.
const PAUSE_SHORT: Duration = Duration::from_secs(1);
/// Before the second try; twice as long before each further one.
const BACK_OFF: Duration = Duration::from_millis(50);

impl Service {
    /// Errors: what of its certificates or credentials can't be used.
    pub fn new(
        config: &SystemConfig,
        secrets: SystemSecrets,
        metrics: &LookupMetrics,
    ) -> Result<Self, String> {
        let base = Url::parse(&config.url).map_err(|error| error.to_string())?;
        let mut builder = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .https_only(!config.reach.only_listed)
            .user_agent(concat!("tipstaff/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(Resolver(config.reach.clone())));
        if let Some(pem) = &secrets.ca {
            let certificates = Certificate::from_pem_bundle(pem.expose());
            let certificates = certificates.map_err(|error| format!("`ca`: {error}"))?;
            if certificates.is_empty() {
                return Err("`ca` holds no certificate".to_owned());
            }
            builder = builder.tls_certs_only(certificates);
        }
        let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let is_refused = host.parse::<IpAddr>().is_ok_and(|address| !config.reach.permits(address));
        let metrics = metrics.calls(&config.name);
        let (limits, gauge) = (config.limits, metrics.breaker.clone());
        Ok(Self {
            name: config.name.clone(),
            url: config.url.clone(),
            identity: config.identity(),
            base,
            is_refused,
            client: builder.build().map_err(|error| error.to_string())?,
            headers: headers(&secrets.sent)?,
            login: secrets.sent.login,
            limits,
            breaker: Breaker::new(limits.breaker, move |state| gauge.set(state)),
            turns: Semaphore::new(limits.concurrency),
            rate: limits.rate.map(|rate| Rate::new(rate, Instant::now())),
            retries: Retries::new(),
            paused: Mutex::new(None),
            metrics,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it is and as whom it is asked: part of what an answer of it depends on.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// Any status but a redirect, 401, 403, 429 and 5xx is a reply. Everything asked is a read, so
    /// what failed on the way is asked again, within limits.
    pub async fn send(&self, call: Call) -> Result<Reply, Failure> {
        let url = self.url_of(&call)?;
        let headers = self.headers_of(&call)?;
        self.retries.earn();
        let (mut tries, mut last) = (0, None);
        loop {
            let tried = match self.attempt(&call, (&url, &headers), Wanted::Body).await {
                Ok(reply) => return Ok(reply),
                Err(tried) => tried,
            };
            // What opened the breaker says more than that it is open.
            let failure = match tried.failure.fault {
                Fault::Open => last.take().unwrap_or(tried.failure),
                _ => tried.failure,
            };
            let Some(pause) = tried.again_after else { return Err(failure) };
            if tries >= self.limits.retries || !self.retries.spend() {
                return Err(failure);
            }
            self.metrics.retries.inc();
            last = Some(failure);
            tokio::time::sleep(pause + jittered(BACK_OFF * 2_u32.pow(tries.min(6)), 50)).await;
            tries += 1;
        }
    }

    /// One try of a call that changes something: whether it is made again is the caller's to say.
    /// The answer counts by its status alone, with the same failures as of [`Self::send`].
    pub async fn deliver(&self, call: &Call) -> Result<Reply, Failure> {
        self.once(call, Wanted::Status).await
    }

    /// One try as of [`Self::deliver`], of which the whole answer counts.
    pub async fn search(&self, call: &Call) -> Result<Reply, Failure> {
        self.once(call, Wanted::Body).await
    }

    async fn once(&self, call: &Call, wanted: Wanted) -> Result<Reply, Failure> {
        let url = self.url_of(call)?;
        let headers = self.headers_of(call)?;
        let tried = self.attempt(call, (&url, &headers), wanted).await;
        tried.map_err(|tried| tried.failure)
    }

    fn failure(&self, fault: Fault, detail: impl std::fmt::Display) -> Failure {
        Failure::new(fault, format!("service `{}`: {detail}", self.name))
    }

    /// Nothing in a path may lead to another host or out of its place.
    fn url_of(&self, call: &Call) -> Result<Url, Failure> {
        if self.is_refused {
            return Err(self.failure(Fault::Address, Refused));
        }
        let url = Url::parse(&format!("{}{}", self.url, call.path)).ok();
        let prefix = self.base.path().trim_end_matches('/');
        let is_plain = |url: &Url| {
            let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
            let is_same = (url.scheme(), url.host_str(), url.port())
                == (self.base.scheme(), self.base.host_str(), self.base.port());
            is_same && format!("{}{query}", url.path()) == format!("{prefix}{}", call.path)
        };
        url.filter(|url| call.path.starts_with('/') && is_plain(url))
            .ok_or_else(|| self.failure(Fault::Malformed, "the key makes no plain path"))
    }

    fn headers_of(&self, call: &Call) -> Result<HeaderMap, Failure> {
        let refused = || self.failure(Fault::Malformed, "the key makes no plain header");
        let mut headers = HeaderMap::new();
        for (name, value) in &call.headers {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?;
            headers.insert(name, HeaderValue::from_str(value).map_err(|_| refused())?);
        }
        if !headers.contains_key(ACCEPT) {
            headers.insert(ACCEPT, HeaderValue::from_static(JSON));
        }
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        Ok(headers)
    }

    async fn attempt(
        &self,
        call: &Call,
        to: (&Url, &HeaderMap),
        wanted: Wanted,
    ) -> Result<Reply, Tried> {
        let timeout = Duration::from_millis(self.limits.timeout_ms);
        self.is_open(Instant::now())?;
        let Ok(Ok(_turn)) = tokio::time::timeout(timeout, self.turns.acquire()).await else {
            let detail = format!("{} requests are on their way already", self.limits.concurrency);
            return Err(self.failure(Fault::Limited, detail).into());
        };
        if let Some(rate) = &self.rate {
            let wait = rate.turn(Instant::now(), timeout).map_err(|wait| {
                let wait = duration_text(i64::try_from(wait.as_millis()).unwrap_or(i64::MAX));
                self.failure(Fault::Limited, format!("its rate is used up for {wait}"))
            })?;
            tokio::time::sleep(wait).await;
        }
        self.is_paused(Instant::now())?;
        let pass = self.breaker.pass(Instant::now()).map_err(|left| self.opened(left))?;
        let _in_flight = self.metrics.begin();
        let began = Instant::now();
        let tried = match tokio::time::timeout(timeout, self.ask(call, to, wanted)).await {
            Ok(tried) => tried,
            Err(_) => {
                let limit = duration_text(i64::try_from(timeout.as_millis()).unwrap_or(i64::MAX));
                Err(self.failure(Fault::Timeout, format!("no whole answer within {limit}")).into())
            }
        };
        self.metrics.seconds.observe(began.elapsed().as_secs_f64());
        self.learn(pass, &tried);
        tried
    }

    fn is_open(&self, now: Instant) -> Result<(), Failure> {
        self.is_paused(now)?;
        self.breaker.left(now).map_or(Ok(()), |left| Err(self.opened(left)))
    }

    fn is_paused(&self, now: Instant) -> Result<(), Failure> {
        let paused = *self.paused.lock().unwrap_or_else(PoisonError::into_inner);
        let left = paused.and_then(|until| until.checked_duration_since(now));
        let Some(left) = left.filter(|left| !left.is_zero()) else { return Ok(()) };
        let detail = format!("it asked to be left alone until {}", at(left));
        Err(Failure { retry_after: Some(left), ..self.failure(Fault::Limited, detail) })
    }

    fn opened(&self, left: Duration) -> Failure {
        let failures = self.breaker.failures();
        let detail = format!("{failures} failures in a row; it is asked again at {}", at(left));
        Failure { retry_after: Some(left), ..self.failure(Fault::Open, detail) }
    }

    fn learn(&self, pass: Pass, tried: &Result<Reply, Tried>) {
        let fault = tried.as_ref().err().map(|tried| tried.failure.fault);
        self.metrics.called(fault.map_or("reply", Fault::code));
        match fault {
            Some(Fault::Timeout | Fault::Connect | Fault::Server) => {
                let has_opened = pass.failed(Instant::now());
                if let Some(tried) = tried.as_ref().err().filter(|_| has_opened) {
                    let again = at(Duration::from_millis(self.limits.breaker.open_for_ms));
                    let (service, failures) = (&*self.name, self.breaker.failures());
                    warn!(service, reason = %tried.failure.detail, "{failures} failures in a row: `{service}` is not asked until {again}");
                }
            }
            // It was not asked.
            Some(Fault::Address) => drop(pass),
            _ => {
                if pass.worked() {
                    let service = &*self.name;
                    info!(service, "`{service}` answers again");
                }
            }
        }
    }

    async fn ask(
        &self,
        call: &Call,
        (url, headers): (&Url, &HeaderMap),
        wanted: Wanted,
    ) -> Result<Reply, Tried> {
        let mut request = self.client.request(call.method.clone(), url.clone());
        request = request.headers(self.signed(call, headers)?);
        for (name, value) in Here::now().headers() {
            request = request.header(name, value);
        }
        if let Some(body) = &call.body {
            request = request.body(body.clone());
        }
        let response = request.send().await.map_err(|error| self.unsent(error))?;
        self.judge(&response)?;
        let (status, received) = (response.status(), response.headers().clone());
        let body = self.body(response).await;
        let body = if wanted == Wanted::Status { body.unwrap_or_default() } else { body? };
        let is_read = wanted == Wanted::Body && !body.is_empty();
        if is_read && !is_wanted(headers, &received, status.is_success()) {
            let detail = format!("the answer ({status}) is not of a kind that was asked for");
            return Err(self.failure(Fault::ContentType, detail).into());
        }
        Ok(Reply { status: status.as_u16(), headers: received, body })
    }

    /// Credentials that depend on the request and on the time.
    fn signed(&self, call: &Call, headers: &HeaderMap) -> Result<HeaderMap, Failure> {
        let unfit =
            || self.failure(Fault::Denied, "its credentials or its address cannot be signed");
        let keys = match &self.login {
            Login::Aws(keys) => keys,
            Login::Signed(secret) => {
                let more = signed::headers(call, secret, now()).ok_or_else(unfit)?;
                return with(headers, more).ok_or_else(unfit);
            }
            Login::None | Login::Bearer(_) | Login::Basic { .. } => return Ok(headers.clone()),
        };
        let (path, query) = call.path.split_once('?').unwrap_or((&call.path, ""));
        let prefix = self.base.path().trim_end_matches('/');
        let host = self.base.host_str().ok_or_else(unfit)?;
        let host = self.base.port().map_or(host.to_owned(), |port| format!("{host}:{port}"));
        let request = sigv4::Request {
            method: call.method.as_str(),
            host: &host,
            path: &format!("{prefix}{path}"),
            query,
            headers: &call.headers,
            body: call.body.as_deref().unwrap_or_default(),
        };
        let more = sigv4::sign(&request, keys, now()).ok_or_else(unfit)?;
        with(headers, more).ok_or_else(unfit)
    }

    fn unsent(&self, error: reqwest::Error) -> Tried {
        let error = error.without_url();
        let causes =
            || std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
        if causes().any(<dyn std::error::Error>::is::<Refused>) {
            return self.failure(Fault::Address, Refused).into();
        }
        let told: Vec<String> = causes().map(ToString::to_string).collect();
        let failure = self.failure(Fault::Connect, told.join(": "));
        Tried { failure, again_after: Some(Duration::ZERO) }
    }

    /// By the status alone.
    fn judge(&self, response: &Response) -> Result<(), Tried> {
        let status = response.status();
        let asked = pause_asked(response.headers(), now());
        let fault = match status.as_u16() {
            300..=399 => Fault::Redirect,
            429 => Fault::Limited,
            // So GitHub says that its limit is reached.
            403 if asked.is_some() => Fault::Limited,
            401 | 403 => Fault::Denied,
            500.. => Fault::Server,
            _ => return Ok(()),
        };
        let mut failure = self.failure(fault, format!("the answer was {status}"));
        failure.retry_after = asked;
        let pause = match fault {
            Fault::Limited => Some(asked.unwrap_or(PAUSE)),
            Fault::Server if status.as_u16() == 503 => asked,
            _ => None,
        };
        let again_after = match (status.as_u16(), asked) {
            (429 | 502..=504, Some(asked)) => Some(asked).filter(|asked| *asked <= PAUSE_SHORT),
            (502..=504, None) => Some(Duration::ZERO),
            _ => None,
        };
        if let Some(pause) = pause {
            let until = Instant::now() + pause;
            let mut paused = self.paused.lock().unwrap_or_else(PoisonError::into_inner);
            *paused = (*paused).max(Some(until));
        }
        Err(Tried { failure, again_after })
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, Tried> {
        let max = self.limits.max_bytes;
        let too_large = || {
            let detail = format!("the answer has more than {max} bytes");
            Tried::from(self.failure(Fault::TooLarge, detail))
        };
        if response.content_length().is_some_and(|length| length > max as u64) {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unsent(error))? {
            if body.len() + chunk.len() > max {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

impl From<Failure> for Tried {
    fn from(failure: Failure) -> Self {
        Self { failure, again_after: None }
    }
}

fn with(headers: &HeaderMap, more: Vec<(&'static str, String)>) -> Option<HeaderMap> {
    let mut all = headers.clone();
    for (name, value) in more {
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        all.insert(HeaderName::from_static(name), value);
    }
    Some(all)
}

/// Those that never change, credentials last.
fn headers(sent: &Sent<Secret>) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let secret = |bytes: &[u8]| {
        let mut value = HeaderValue::from_bytes(bytes).map_err(|_| "a secret is no header")?;
        value.set_sensitive(true);
        Ok::<_, String>(value)
    };
    for (name, shown) in &sent.headers {
        let value = match shown {
            Shown::Plain(text) => HeaderValue::from_str(text).map_err(|error| error.to_string())?,
            Shown::Secret(value) => secret(value.expose())?,
        };
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
        headers.insert(name, value);
    }
    let login = match &sent.login {
        Login::None | Login::Aws(_) | Login::Signed(_) => return Ok(headers),
        Login::Bearer(token) => [b"Bearer ".as_slice(), token.expose()].concat(),
        Login::Basic { user, password } => {
            let pair = [user.as_bytes(), b":", password.expose()].concat();
            format!("Basic {}", openssl::base64::encode_block(&pair)).into_bytes()
        }
    };
    headers.insert(AUTHORIZATION, secret(&login)?);
    Ok(headers)
}

fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// In words, that long from now.
fn at(left: Duration) -> Millis {
    now().plus(i64::try_from(left.as_millis()).unwrap_or(i64::MAX))
}
