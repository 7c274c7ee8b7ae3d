use crate::audit::{Actor, CASES_PREFIX, DEAD_LETTERS, Engine};

/// The names of our topics. Detector topics are named in the pipelines' files.
#[derive(Debug, Clone)]
pub struct Topics {
    prefix: String,
    pub alerts: String,
    pub decisions: String,
    pub policies: String,
    /// Cases that a sink could not deliver as they are.
    pub parked: String,
    /// What people sign about cases; the partition of its case is its partition.
    pub orders: String,
    /// What people sign about everything: one partition, which every worker reads.
    pub control: String,
    /// An alert's partition is its decision's partition.
    pub partitions: i32,
    /// Of what people read. Few: every partition that a transaction writes to is a request of its
    /// own, one after the other, and each worker writes to all of these.
    pub case_partitions: i32,
}

impl Topics {
    pub fn new(prefix: &str, partitions: i32) -> Self {
        let named = |name: &str| format!("{prefix}.{name}");
        Self {
            alerts: named("alerts"),
            decisions: named("decisions"),
            policies: named("policies"),
            parked: named("parked"),
            orders: named("orders"),
            control: named("control"),
            prefix: prefix.to_owned(),
            partitions,
            case_partitions: 1,
        }
    }

    /// A topic that rulings write to: `cases.<queue>`, `actions`, `dead-letters`, `findings`.
    pub fn output(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// Of a topic that rulings write to, without the prefix.
    pub fn output_partitions(&self, name: &str) -> i32 {
        match name.starts_with(CASES_PREFIX) || name == DEAD_LETTERS {
            true => self.case_partitions,
            false => self.partitions,
        }
    }
}

/// Which program and which instance of it wrote a record.
#[derive(Debug, Clone)]
pub struct Identity {
    pub instance: String,
}

impl Identity {
    pub fn engine(&self) -> Engine<'static> {
        Engine {
            version: env!("CARGO_PKG_VERSION").into(),
            build: option_env!("TIPSTAFF_BUILD").unwrap_or("dev").into(),
        }
    }

    pub fn actor(&self) -> Actor<'_> {
        Actor { service: "tipstaff-triage".into(), instance: self.instance.as_str().into() }
    }
}
