//! Names of spans and attributes. Those of messaging and HTTP are OpenTelemetry's, and move with
//! [`SCHEMA_URL`]. No attribute ever holds a key, an identity, a secret or a payload.

pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.45.0";
pub const SCOPE: &str = "tipstaff";

pub const SERVICE_INSTANCE_ID: &str = "service.instance.id";
pub const SERVICE_VERSION: &str = "service.version";

pub const MESSAGING_SYSTEM_NAME: &str = "messaging.system.name";
pub const KAFKA: &str = "kafka";
pub const MESSAGING_OPERATION_NAME: &str = "messaging.operation.name";
pub const MESSAGING_OPERATION_TYPE: &str = "messaging.operation.type";
pub const MESSAGING_DESTINATION_NAME: &str = "messaging.destination.name";
pub const MESSAGING_DESTINATION_PARTITION_ID: &str = "messaging.destination.partition.id";
pub const MESSAGING_BATCH_MESSAGE_COUNT: &str = "messaging.batch.message_count";
pub const KAFKA_OFFSET: &str = "kafka.offset";

pub const HTTP_REQUEST_METHOD: &str = "http.request.method";
pub const HTTP_ROUTE: &str = "http.route";
pub const HTTP_RESPONSE_STATUS_CODE: &str = "http.response.status_code";
pub const ERROR_TYPE: &str = "error.type";

pub const ALERTS: &str = "tipstaff.alerts";
pub const DUPLICATE: &str = "tipstaff.duplicate";
pub const ENRICHER: &str = "tipstaff.enricher";
pub const LOOKUP_MS: &str = "tipstaff.lookup_ms";
pub const PIPELINE: &str = "tipstaff.pipeline";
pub const PLAYBOOK: &str = "tipstaff.playbook";
pub const REASON: &str = "tipstaff.reason";
pub const RULE: &str = "tipstaff.rule";
pub const RULING: &str = "tipstaff.ruling";
pub const SOURCE: &str = "tipstaff.source";

/// One alert from its place on the alerts topic to its ruling.
pub const RULE_ALERT: &str = "rule alert";
/// In front of an enricher's name.
pub const LOOKUP: &str = "lookup";
/// In front of a topic's name: a message, a batch of them, and what is done with those that came.
pub const CREATE: &str = "create";
pub const SEND: &str = "send";
pub const PROCESS: &str = "process";
pub const POST: &str = "POST";
/// Why a batch's span has an error.
pub const NOT_COMMITTED: &str = "not_committed";
