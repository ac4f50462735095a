//! Nodes in a ring.

/// The pairs that are no neighbours in a ring.
pub(super) fn across(ring: &[u64]) -> impl Iterator<Item = (u64, u64)> {
    let last = ring.len().saturating_sub(1);
    let pairs =
        (0..ring.len()).flat_map(move |one| (one + 2..ring.len()).map(move |other| (one, other)));
    pairs.filter(move |pair| *pair != (0, last)).map(|(one, other)| (ring[one], ring[other]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn in_a_ring_of_five_each_sees_a_majority_and_no_two_the_same() {
        let cut: Vec<_> = across(&[1, 2, 3, 4, 5]).collect();
        let seen = |place: u64| -> BTreeSet<u64> {
            let is_cut = |other: u64| cut.contains(&(place.min(other), place.max(other)));
            (1..=5).filter(|other| !is_cut(*other)).collect()
        };
        let views: BTreeSet<_> = (1..=5).map(seen).collect();
        assert_eq!(views.len(), 5);
        assert!(views.iter().all(|view| view.len() == 3));
        assert_eq!(across(&[1, 2, 3]).count(), 0);
    }
}
