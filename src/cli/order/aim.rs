use std::time::Duration;

use crate::app::{Cluster, Failure, Loaded};
use crate::case::{Stopped, Subject};
use crate::cli::{connect, control};

/// What an order is about.
#[derive(Default)]
pub(super) struct Aim {
    pub(super) at: Option<String>,
    pub(super) subject: Option<Subject>,
    pub(super) ends: Option<String>,
}

impl Aim {
    pub(super) fn at_case(subject: Subject) -> Self {
        Self { subject: Some(subject), ..Self::default() }
    }

    /// Everything automatic on this cluster.
    pub(super) fn at_all(loaded: &Loaded, wait: Duration) -> Result<Self, Failure> {
        Ok(Self::home(&connect(loaded, wait)?))
    }

    /// The stop that is named, or else the one that the chains are under.
    pub(super) fn at_stop(
        loaded: &Loaded,
        wait: Duration,
        named: Option<String>,
    ) -> Result<Self, Failure> {
        let cluster = connect(loaded, wait)?;
        let ends = match named {
            Some(named) => Some(named),
            None => in_force(&control::stopped(&cluster)?)?,
        };
        Ok(Self { ends, ..Self::home(&cluster) })
    }

    fn home(cluster: &Cluster) -> Self {
        Self { at: Some(cluster.home()), ..Self::default() }
    }
}

/// The order by which the chains are stopped. Nothing where none says of itself that a person did.
fn in_force(chains: &[(i32, Option<Stopped>)]) -> Result<Option<String>, Failure> {
    let stops = chains.iter().filter_map(|(_, stopped)| stopped.as_ref());
    let mut orders: Vec<&String> = stops.filter_map(|stopped| stopped.order.as_ref()).collect();
    orders.sort_unstable();
    orders.dedup();
    match orders.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some((*one).clone())),
        _ => Err(Failure::Usage(
            "the chains are under different stops: `tipstaff control` shows them, `--ends` names one"
                .to_owned(),
        )),
    }
}
