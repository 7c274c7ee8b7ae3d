use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

/// How to reach the brokers: librdkafka properties as users write them (`bootstrap.servers`,
/// `security.protocol`, `sasl.*`, `ssl.*`, and anything that is not in [`PROTECTED`]).
#[derive(Clone, Default)]
pub struct Brokers {
    pub properties: BTreeMap<String, String>,
}

/// Values hold passwords, so only the names are shown.
impl std::fmt::Debug for Brokers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.properties.keys()).finish()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    #[error("`bootstrap.servers` is missing")]
    NoBrokers,
    #[error("`{property}` cannot be set: exactly-once processing depends on its value")]
    Protected { property: String },
    #[error("`{property}` is not accepted by the Kafka client: {why}")]
    Rejected { property: String, why: String },
}

/// What a user may not change, with its aliases.
const PROTECTED: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.commit.enable",
    "auto.offset.reset",
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "heartbeat.interval.ms",
    "isolation.level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "max.poll.interval.ms",
    "message.send.max.retries",
    "message.timeout.ms",
    "partition.assignment.strategy",
    "request.required.acks",
    "request.timeout.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "session.timeout.ms",
    "socket.timeout.ms",
    "transaction.timeout.ms",
    "transactional.id",
];

/// Both sides: detector topics may hold messages of up to 8 MiB.
const COMMON: &[(&str, &str)] = &[
    // Producers and admin clients otherwise create what they only ask about.
    ("allow.auto.create.topics", "false"),
    ("socket.keepalive.enable", "true"),
    ("reconnect.backoff.max.ms", "2000"),
    ("receive.message.max.bytes", "33554432"),
    ("topic.metadata.refresh.fast.interval.ms", "100"),
];

const READING: &[(&str, &str)] = &[
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"),
    ("check.crcs", "true"),
    // A full local queue otherwise stops fetching for a whole second.
    ("fetch.queue.backoff.ms", "5"),
    // A steady stream is not fetched message by message, which would keep the brokers busy.
    ("fetch.min.bytes", "65536"),
    ("fetch.wait.max.ms", "20"),
    ("fetch.max.bytes", "16777216"),
    ("fetch.message.max.bytes", "9437184"),
    ("queued.max.messages.kbytes", "65536"),
    ("queued.min.messages", "50000"),
];

const JOINING: &[(&str, &str)] = &[
    ("isolation.level", "read_committed"),
    ("group.protocol", "classic"),
    ("partition.assignment.strategy", "range"),
    // Above the transaction timeout: a member that is thrown out has no open transaction left.
    ("session.timeout.ms", "30000"),
    ("heartbeat.interval.ms", "3000"),
    // A recovery may wait 30 s for a hanging transaction.
    ("max.poll.interval.ms", "90000"),
    ("enable.partition.eof", "false"),
];

const WRITING: &[(&str, &str)] = &[
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("transaction.timeout.ms", "10000"),
    ("message.timeout.ms", "8000"),
    ("socket.timeout.ms", "6000"),
    ("delivery.report.only.error", "true"),
    ("batch.size", "1000000"),
    ("batch.num.messages", "20000"),
    ("message.max.bytes", "9437184"),
    ("queue.buffering.max.messages", "500000"),
    ("queue.buffering.max.kbytes", "262144"),
];

/// A partition's records come right after each other, and what comes within a millisecond of the
/// first is one request.
const IN_TRANSACTIONS: &[(&str, &str)] = &[("linger.ms", "1")];

/// Somebody waits for the acknowledgement.
const AT_ONCE: &[(&str, &str)] = &[("linger.ms", "5")];

/// Client settings that were checked against the user's properties.
#[derive(Clone)]
pub struct Settings {
    base: ClientConfig,
    default_retries: bool,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Settings")
    }
}

impl Settings {
    /// Errors: a property that is protected or that the client does not know, by name.
    pub fn new(brokers: &Brokers) -> Result<Settings, SettingsError> {
        let mut base = ClientConfig::new();
        base.set_log_level(RDKafkaLogLevel::Warning);
        for (name, value) in COMMON {
            base.set(*name, *value);
        }
        if !brokers.properties.contains_key("bootstrap.servers") {
            return Err(SettingsError::NoBrokers);
        }
        for (name, value) in &brokers.properties {
            if PROTECTED.contains(&name.as_str()) {
                return Err(SettingsError::Protected { property: name.clone() });
            }
            let mut alone = ClientConfig::new();
            alone.set(name, value);
            if let Err(error) = alone.create_native_config() {
                return Err(SettingsError::Rejected {
                    property: name.clone(),
                    why: without_value(&error),
                });
            }
            base.set(name, value);
        }
        Ok(Settings { base, default_retries: false })
    }

    /// For the tear test alone: the client library's own retry times, which hide a late commit.
    #[doc(hidden)]
    pub fn with_default_retries(mut self) -> Settings {
        self.default_retries = true;
        self
    }

    pub fn bootstrap(&self) -> &str {
        self.base.get("bootstrap.servers").unwrap_or_default()
    }

    pub(super) fn admin(&self) -> ClientConfig {
        self.base.clone()
    }

    /// For records outside a transaction.
    pub(super) fn writer(&self) -> ClientConfig {
        let mut config = self.base.clone();
        config.set("enable.idempotence", "true").set("acks", "all").set("linger.ms", "5");
        config.set("message.max.bytes", "9437184");
        config.set("delivery.report.only.error", "true");
        config
    }

    /// For records outside a transaction whose outcome somebody waits for, this long.
    pub(super) fn publisher(&self, name: &str, wait: Duration) -> ClientConfig {
        let mut config = self.with(&[WRITING, AT_ONCE]);
        config.remove("transaction.timeout.ms");
        config.set("message.timeout.ms", wait.as_millis().to_string());
        config.set("delivery.report.only.error", "false").set("client.id", name);
        config
    }

    pub(super) fn reader(&self, group: &str, isolation: &str) -> ClientConfig {
        let mut config = self.with(&[READING]);
        config.set("group.id", group).set("isolation.level", isolation);
        config.set("enable.partition.eof", "true");
        config
    }

    pub(super) fn member(&self, group: &str, instance: &str) -> ClientConfig {
        let mut config = self.with(&[READING, JOINING]);
        config.set("group.id", group).set("group.instance.id", instance);
        config.set("client.id", instance);
        config
    }

    pub(super) fn producer(&self, transactional_id: &str) -> ClientConfig {
        let mut config = self.with(&[WRITING, IN_TRANSACTIONS]);
        config.set("transactional.id", transactional_id).set("client.id", transactional_id);
        if !self.default_retries {
            // A retry that the client hides then takes at least 800 ms, and so shows in the commit
            // time.
            config.set("retry.backoff.ms", "1000").set("retry.backoff.max.ms", "1000");
        }
        config
    }

    fn with(&self, ours: &[&[(&str, &str)]]) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Warning);
        for (name, value) in ours.iter().copied().flatten() {
            config.set(*name, *value);
        }
        // The user's wishes come last: what must not change was refused by name.
        for (name, value) in self.base.config_map() {
            config.set(name, value);
        }
        config
    }
}

/// The client's own message quotes the value, which may be a password.
fn without_value(error: &rdkafka::error::KafkaError) -> String {
    use rdkafka::types::RDKafkaConfRes;
    match error {
        rdkafka::error::KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..) => {
            "no such property".to_owned()
        }
        _ => "this value is not allowed here".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str) -> Result<(), SettingsError> {
        let mut properties = BTreeMap::new();
        properties.insert("bootstrap.servers".to_owned(), "127.0.0.1:9".to_owned());
        properties.insert(name.to_owned(), value.to_owned());
        Settings::new(&Brokers { properties }).map(|_| ())
    }

    #[test]
    fn what_exactly_once_rests_on_cannot_be_overridden() {
        for property in PROTECTED {
            let refused = SettingsError::Protected { property: (*property).to_owned() };
            assert_eq!(check(property, "1"), Err(refused));
        }
    }

    #[test]
    fn a_rejected_property_is_named_without_its_value() {
        let error = check("sasl.pasword", "hunter2").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`sasl.pasword` is not accepted by the Kafka client: no such property"
        );
        let error = check("security.protocol", "hunter2").unwrap_err();
        assert!(!error.to_string().contains("hunter2"));
    }

    #[test]
    fn every_setting_of_ours_is_known_to_the_client() {
        let mut properties = BTreeMap::new();
        properties.insert("bootstrap.servers".to_owned(), "127.0.0.1:9".to_owned());
        let settings = Settings::new(&Brokers { properties }).unwrap();
        for config in [
            settings.admin(),
            settings.reader("g", "read_uncommitted"),
            settings.member("g", "i"),
            settings.producer("p"),
            settings.publisher("n", Duration::from_secs(4)),
        ] {
            config.create_native_config().unwrap();
        }
    }
}
