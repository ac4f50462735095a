//! Whether enough nodes hold a song: judged by the leader, by the voters of the moment in which it is proposed.

use std::collections::BTreeSet;

/// A song that is to be registered is not on a majority of the voters.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "only {copies} of the {needed} voters that are needed hold the song, as the leader counts them; nothing was changed, \
     try again"
)]
pub struct TooFewCopies {
    /// Voters that hold it.
    pub copies: usize,
    /// A majority of the voters.
    pub needed: usize,
}

/// Checks the nodes that hold a song. While the members change there are two sets of voters, and a majority of each must
/// hold it.
pub fn check(holders: &BTreeSet<u64>, voters: &[BTreeSet<u64>]) -> Result<(), TooFewCopies> {
    for config in voters {
        let copies = holders.intersection(config).count();
        let needed = config.len() / 2 + 1;
        if copies < needed {
            return Err(TooFewCopies { copies, needed });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(nodes: &[u64]) -> BTreeSet<u64> {
        nodes.iter().copied().collect()
    }

    #[test]
    fn a_majority_of_the_voters_holds_it() {
        let voters = [set(&[1, 2, 3])];
        for (holders, copies) in [(&[][..], 0), (&[2], 1), (&[1, 9, 100], 1)] {
            let refused = check(&set(holders), &voters).expect_err("too few");
            assert_eq!(refused, TooFewCopies { copies, needed: 2 });
        }
        assert_eq!(check(&set(&[1, 3]), &voters), Ok(()));
    }

    #[test]
    fn a_node_that_was_replaced_counts_no_more() {
        let joint = [set(&[1, 2, 3]), set(&[1, 2, 100])];
        let refused = check(&set(&[1, 3]), &joint).expect_err("too few of the new ones");
        assert_eq!(refused, TooFewCopies { copies: 1, needed: 2 });
        assert_eq!(check(&set(&[1, 2]), &joint), Ok(()));
        assert_eq!(check(&set(&[1, 3, 100]), &joint), Ok(()));
    }
}
