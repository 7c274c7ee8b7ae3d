use std::collections::BTreeMap;

use super::{Finding, Report};

/// What no chain shows by itself: that it stands where it belongs, and that none of them is gone.
pub fn prove_together(reports: &mut BTreeMap<i32, Report>) {
    let known = reports.values().find_map(|report| Some((report.family()?, report.partitions?)));
    let Some((family, partitions)) = known.map(|(family, n)| (family.to_owned(), n)) else {
        return;
    };
    for (partition, report) in reports.iter_mut() {
        let own = format!("{family}/{partition}/");
        let what = if report.chain.is_empty() {
            continue;
        } else if !report.chain.starts_with(&own) {
            format!("these records are of chain `{}`", report.chain)
        } else if report.partitions.is_some_and(|count| count != partitions) {
            format!("its genesis says that there are other chains than the {partitions}")
        } else {
            continue;
        };
        report.findings.insert(0, Finding { offset: 0, seq: Some(0), what });
    }
    for partition in 0..partitions {
        reports.entry(partition).or_insert_with(|| Report {
            findings: vec![Finding {
                offset: 0,
                seq: None,
                what: format!("there are {partitions} chains, and nothing of this one is here"),
            }],
            ..Report::default()
        });
    }
}

impl Report {
    /// Cluster and topic of its chain.
    fn family(&self) -> Option<&str> {
        let mut parts = self.chain.rsplitn(3, '/');
        let (_epoch, _partition) = (parts.next()?, parts.next()?);
        parts.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(chain: &str, partitions: i32) -> Report {
        Report { chain: chain.to_owned(), partitions: Some(partitions), ..Report::default() }
    }

    fn found(all: &[(i32, &str, i32)]) -> Vec<String> {
        let all = all.iter().map(|(place, chain, count)| (*place, report(chain, *count)));
        let mut all: BTreeMap<i32, Report> = all.collect();
        prove_together(&mut all);
        let told = |(place, report): (&i32, &Report)| {
            let findings =
                report.findings.iter().map(|finding| format!("{place}: {}", finding.what));
            findings.collect::<Vec<_>>()
        };
        all.iter().flat_map(told).collect()
    }

    #[test]
    fn a_chain_is_where_it_belongs_and_none_is_missing() {
        assert_eq!(found(&[(0, "c/t/0/0", 2), (1, "c/t/1/0", 2)]), [""; 0]);
        assert_eq!(
            found(&[(0, "c/t/0/0", 2)]),
            ["1: there are 2 chains, and nothing of this one is here"]
        );
        let twice = found(&[(0, "c/t/0/0", 2), (1, "c/t/0/0", 2)]);
        assert_eq!(twice, ["1: these records are of chain `c/t/0/0`"]);
        let other = found(&[(0, "c/t/0/0", 2), (1, "d/t/1/0", 2)]);
        assert_eq!(other, ["1: these records are of chain `d/t/1/0`"]);
        let more = found(&[(0, "c/t/0/0", 2), (1, "c/t/1/0", 3)]);
        assert_eq!(more, ["1: its genesis says that there are other chains than the 2"]);
        let eleventh = found(&[(1, "c/t/11/0", 2), (0, "c/t/0/0", 2)]);
        assert_eq!(eleventh, ["1: these records are of chain `c/t/11/0`"]);
    }
}
