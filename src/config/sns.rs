/// An Amazon SNS topic, by its ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnsTopic {
    pub arn: String,
    pub region: String,
    /// Behind the names of its region's hosts.
    pub domain: &'static str,
}

const NAME_BYTES_MAX: usize = 256;

impl SnsTopic {
    /// `arn:aws:sns:eu-west-1:111122223333:name`. Not of a FIFO topic: none has HTTP subscribers.
    pub(super) fn parse(arn: &str) -> Option<Self> {
        let parts: Vec<&str> = arn.split(':').collect();
        let &["arn", partition, "sns", region, account, name] = parts.as_slice() else {
            return None;
        };
        let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let is_right = is_region(region)
            && partition == partition_of(region)
            && account.len() == 12
            && account.bytes().all(|byte| byte.is_ascii_digit())
            && (1..=NAME_BYTES_MAX).contains(&name.len())
            && name.bytes().all(is_name_byte);
        let domain = if partition == "aws-cn" { "amazonaws.com.cn" } else { "amazonaws.com" };
        is_right.then(|| Self { arn: arn.to_owned(), region: region.to_owned(), domain })
    }
}

/// Words and a number: it becomes part of a host's name.
fn is_region(region: &str) -> bool {
    let Some((words, number)) = region.rsplit_once('-') else { return false };
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|c| c.is_ascii_lowercase());
    let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    is_number && words.contains('-') && words.split('-').all(is_word)
}

fn partition_of(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "aws-cn"
    } else if region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_is_of_a_standard_topic_in_a_region_of_its_partition() {
        for (arn, domain) in [
            ("arn:aws:sns:eu-west-1:111122223333:guardduty", "amazonaws.com"),
            ("arn:aws:sns:ap-southeast-4:111122223333:a_B-1", "amazonaws.com"),
            ("arn:aws-us-gov:sns:us-gov-east-1:111122223333:a", "amazonaws.com"),
            ("arn:aws-cn:sns:cn-northwest-1:111122223333:a", "amazonaws.com.cn"),
        ] {
            let topic = SnsTopic::parse(arn).unwrap();
            assert_eq!((topic.arn.as_str(), topic.domain), (arn, domain));
        }
        for wrong in [
            "",
            "guardduty",
            "arn:aws:sns:eu-west-1:111122223333",
            "arn:aws:sns:eu-west-1:111122223333:",
            "arn:aws:sns:eu-west-1:111122223333:a:b",
            "arn:aws:sns:eu-west-1:111122223333:a.fifo",
            "arn:aws:sns:eu-west-1:111122223333:*",
            "arn:aws:sns:eu-west-1:11112222333:a",
            "arn:aws:sns:eu-west-1:11112222333x:a",
            "arn:aws:sns::111122223333:a",
            "arn:aws:sns:eu-west-1.evil.example/:111122223333:a",
            "arn:aws:sns:eu--1:111122223333:a",
            "arn:aws:sns:eu-1:111122223333:a",
            "arn:aws:sns:cn-north-1:111122223333:a",
            "arn:aws-cn:sns:eu-west-1:111122223333:a",
            "arn:aws:sns:us-gov-west-1:111122223333:a",
            "arn:aws-iso:sns:us-iso-east-1:111122223333:a",
            "arn:aws:sqs:eu-west-1:111122223333:a",
        ] {
            assert_eq!(SnsTopic::parse(wrong), None, "{wrong}");
        }
        let long = format!("arn:aws:sns:eu-west-1:111122223333:{}", "a".repeat(257));
        assert_eq!(SnsTopic::parse(&long), None);
    }
}
