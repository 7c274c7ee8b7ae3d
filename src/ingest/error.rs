use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// Why a Kafka call did not clearly succeed, by what the caller does next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// Wait and try again: nothing was refused, nobody answered.
    #[error("no answer from the brokers: {0}")]
    Unreachable(String),
    /// Recover; when it happens again soon, two instances share one name.
    #[error("fenced by another member of the same name: {0}")]
    Fenced(String),
    /// Recover: only the log knows what happened.
    #[error("outcome unknown: {0}")]
    Unsure(String),
    /// Give up: waiting or trying again cannot help.
    #[error("refused: {0}")]
    Refused(String),
}

impl Doubt {
    pub(super) fn of(what: &str, error: &KafkaError) -> Doubt {
        let text = format!("{what}: {error}");
        match error.rdkafka_error_code() {
            // A producer's old epoch is no sign of a double: brokers raise it after a timeout, too.
            Some(Code::FencedInstanceId) => Doubt::Fenced(text),
            Some(
                Code::AllBrokersDown
                | Code::BrokerTransportFailure
                | Code::Resolve
                | Code::OperationTimedOut
                | Code::RequestTimedOut
                | Code::WaitingForCoordinator
                | Code::CoordinatorNotAvailable
                | Code::CoordinatorLoadInProgress
                | Code::NotCoordinator
                | Code::LeaderNotAvailable
                | Code::NetworkException,
            ) => Doubt::Unreachable(text),
            Some(
                Code::TopicAuthorizationFailed
                | Code::GroupAuthorizationFailed
                | Code::ClusterAuthorizationFailed
                | Code::TransactionalIdAuthorizationFailed
                | Code::SaslAuthenticationFailed
                | Code::Authentication
                | Code::InvalidTransactionTimeout
                | Code::UnsupportedVersion,
            ) => Doubt::Refused(text),
            Some(_) => Doubt::Unsure(text),
            None => match error {
                KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) => {
                    Doubt::Refused(text)
                }
                _ => Doubt::Unsure(text),
            },
        }
    }

    /// The same doubt about a commit: silence is then no reason to assume that nothing happened,
    /// and a member that joined again meanwhile is told that it is fenced, by nobody but itself.
    pub(super) fn of_commit(error: &KafkaError) -> Doubt {
        match Doubt::of("commit", error) {
            Doubt::Unreachable(text) | Doubt::Fenced(text) => Doubt::Unsure(text),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_during_a_commit_is_not_taken_for_nothing_happened() {
        let silence = KafkaError::Flush(Code::OperationTimedOut);
        assert!(matches!(Doubt::of("init", &silence), Doubt::Unreachable(_)));
        assert!(matches!(Doubt::of_commit(&silence), Doubt::Unsure(_)));
    }

    #[test]
    fn only_a_fenced_member_points_to_a_double() {
        let member = KafkaError::MessageConsumptionFatal(Code::FencedInstanceId);
        let producer = KafkaError::Flush(Code::ProducerFenced);
        assert!(matches!(Doubt::of("consumer", &member), Doubt::Fenced(_)));
        assert!(matches!(Doubt::of_commit(&member), Doubt::Unsure(_)));
        assert!(matches!(Doubt::of("begin", &producer), Doubt::Unsure(_)));
    }
}
