use std::collections::BTreeMap;

use crate::clause::Slot;

use super::judge::Judge;
use super::rows::{Point, Set};
use super::{ANY_OTHER, COMBINATIONS_MAX, TooLarge};

/// What a place that is listed can hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum At {
    Text(String),
    /// Any text that is not listed.
    Other,
    Absent,
    Unknown,
}

#[derive(Debug)]
pub(super) struct Axis {
    /// Where it stands may differ between the boundaries that are compared.
    pub path: String,
    pub values: Vec<At>,
    /// Whether a condition looks at the texts in a way that no list of them stands for.
    pub is_open: bool,
}

/// The places that are tried value by value; the product of their values is what is tried.
#[derive(Debug)]
pub(super) struct Axes(pub Vec<Axis>);

impl At {
    fn name(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Other => ANY_OTHER.to_owned(),
            Self::Absent => "(absent)".to_owned(),
            Self::Unknown => "(unknown)".to_owned(),
        }
    }
}

impl Axes {
    /// Over all that one of the judges tells apart, so that several boundaries are tried at the
    /// same points.
    pub(super) fn new(judges: &[&Judge<'_>]) -> Self {
        let mut axes: Vec<Axis> = Vec::new();
        for (slot, path) in judges.iter().flat_map(|judge| judge.listed()) {
            if axes.iter().any(|axis| axis.path == path) {
                continue;
            }
            let mut texts: Vec<String> =
                known_words(slot).iter().map(|w| (*w).to_owned()).collect();
            let mut is_open = false;
            let told = judges.iter().filter_map(|judge| Some(judge.texts_of(judge.slot(&path)?)));
            for (named, open) in told {
                is_open |= open;
                for text in named {
                    if !texts.contains(&text) {
                        texts.push(text);
                    }
                }
            }
            let mut values: Vec<At> = texts.into_iter().map(At::Text).collect();
            values.extend([At::Other, At::Absent]);
            if slot.enricher().is_some() {
                values.push(At::Unknown);
            }
            axes.push(Axis { path, values, is_open });
        }
        Self(axes)
    }

    /// By name, without those that hold every value.
    pub(super) fn named(&self, sets: &[Set]) -> BTreeMap<String, Vec<String>> {
        let rows = self.0.iter().zip(sets);
        let told = rows.filter(|(axis, set)| set.len() < axis.values.len());
        told.map(|(axis, set)| {
            let values = set.iter().filter_map(|index| axis.values.get(*index));
            (axis.path.clone(), values.map(At::name).collect())
        })
        .collect()
    }

    /// Every value that is tried, by name.
    pub(super) fn vocabulary(&self) -> BTreeMap<String, Vec<String>> {
        let names = |axis: &Axis| axis.values.iter().map(At::name).collect();
        self.0.iter().map(|axis| (axis.path.clone(), names(axis))).collect()
    }

    pub(super) fn at<'a>(
        &'a self,
        point: &'a [usize],
    ) -> impl Iterator<Item = (&'a Axis, &'a At)> + 'a {
        let places = self.0.iter().zip(point);
        places.filter_map(|(axis, index)| Some((axis, axis.values.get(*index)?)))
    }
}

/// What intake lets an alert's field have; everything else that is listed comes from the boundary.
fn known_words(slot: Slot) -> &'static [&'static str] {
    match slot {
        Slot::Field(field) => field.words().unwrap_or_default(),
        _ => &[],
    }
}

/// Every combination of values.
///
/// Errors: there are more than are tried.
pub(super) fn combinations(axes: &Axes, action: &str) -> Result<Vec<Point>, TooLarge> {
    let sizes = axes.0.iter().map(|axis| axis.values.len());
    let count = sizes.fold(1_usize, usize::saturating_mul);
    if count > COMBINATIONS_MAX {
        return Err(TooLarge { action: action.to_owned(), count });
    }
    let mut points: Vec<Point> = vec![Vec::new()];
    for axis in &axes.0 {
        let longer = points.iter().flat_map(|point| {
            (0..axis.values.len()).map(move |index| {
                let mut point = point.clone();
                point.push(index);
                point
            })
        });
        points = longer.collect();
    }
    Ok(points)
}
