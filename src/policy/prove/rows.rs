use std::collections::{BTreeMap, BTreeSet};

use super::Need;

/// For each axis, the index of a value.
pub(super) type Point = Vec<usize>;
/// For one axis, indexes of values.
pub(super) type Set = BTreeSet<usize>;

/// How something is reached at one combination of values.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reach {
    pub needs: BTreeSet<Need>,
    pub facts: BTreeMap<String, Vec<String>>,
    pub allowed_by: Vec<String>,
}

/// Joins points that say the same wherever they are all combinations of some sets of values: one
/// axis after the other, so that no point is added and none is lost.
pub(super) fn merged<T: Ord + Clone>(points: Vec<(Point, T)>) -> Vec<(Vec<Set>, T)> {
    let Some(axes) = points.first().map(|(point, _)| point.len()) else { return Vec::new() };
    let single = |(point, said): (Point, T)| {
        (point.into_iter().map(|index| Set::from([index])).collect::<Vec<Set>>(), said)
    };
    let mut boxes: Vec<(Vec<Set>, T)> = points.into_iter().map(single).collect();
    for axis in (0..axes).rev() {
        let mut joined: BTreeMap<(T, Vec<Set>), Set> = BTreeMap::new();
        for (mut sets, said) in boxes {
            let own = sets.get_mut(axis).map(std::mem::take).unwrap_or_default();
            joined.entry((said, sets)).or_default().extend(own);
        }
        boxes = joined
            .into_iter()
            .map(|((said, mut sets), own)| {
                if let Some(set) = sets.get_mut(axis) {
                    *set = own;
                }
                (sets, said)
            })
            .collect();
    }
    boxes
}
