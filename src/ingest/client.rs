use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::KafkaError;
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use tracing::{debug, info, warn};

/// Takes the client library's own log lines and errors to `tracing`. None of them holds a payload.
pub(super) struct Logged(pub(super) &'static str);

pub(super) fn log_line(client: &str, level: RDKafkaLogLevel, facility: &str, line: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning => warn!(client, facility, "kafka client: {line}"),
        RDKafkaLogLevel::Notice => info!(client, facility, "kafka client: {line}"),
        RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            debug!(client, facility, "kafka client: {line}");
        }
    }
}

pub(super) fn log_error(client: &str, error: &KafkaError, reason: &str) {
    use rdkafka::error::RDKafkaErrorCode as Code;
    match error.rdkafka_error_code() {
        // The end of a partition comes this way and is no error.
        Some(Code::PartitionEOF) => {}
        // Each of these has a log line of its own already.
        Some(Code::AllBrokersDown | Code::BrokerTransportFailure | Code::Resolve) => {
            debug!(client, error = %error, "kafka client: {reason}");
        }
        _ => warn!(client, error = %error, "kafka client: {reason}"),
    }
}

impl ClientContext for Logged {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(self.0, level, facility, line);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(self.0, &error, reason);
    }
}

impl ConsumerContext for Logged {}

impl ProducerContext for Logged {
    type DeliveryOpaque = ();

    /// Nothing to do: a failed delivery fails the commit of its transaction.
    fn delivery(&self, _: &DeliveryResult<'_>, (): ()) {}
}
