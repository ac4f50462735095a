//! Which node is to lose its place when an operator replaces it.

use jam_proto::limits::PLACE_MAX;

use crate::refusal::Refusal;
use crate::shard::Member;

/// Refuses what is no place. Ids above those of places are given to replacements, each once.
pub fn check_place(place: u64) -> Result<(), Refusal> {
    if (1..=PLACE_MAX).contains(&place) {
        return Ok(());
    }
    Err(Refusal::Invalid(format!(
        "{place} is no node's place: places are 1 to {PLACE_MAX}, the --id of each jamd; `jam cluster status --json` shows which \
         place a node has"
    )))
}

/// The member that holds a place, as the log and the members know it. `latest`: the id that the log gave the place last.
///
/// A replacement that has begun with a data folder is the holder, whether it has voted or not: if its disk is lost too, it
/// is replaced in turn. One that nobody has begun with still waits for a folder, so it is not replaced: the holder is the
/// member before it, and whoever asks for that one's replacement is told the id that waits.
pub fn holder(place: u64, latest: Option<u64>, members: &[Member]) -> Option<&Member> {
    let begun = members.iter().find(|member| latest == Some(member.id));
    begun.or_else(|| members.iter().find(|member| member.place == place))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raft::addresses::Addresses;

    fn member(id: u64, place: u64, voter: bool) -> Member {
        let addresses = Addresses::one(format!("127.0.0.1:{id}"));
        Member { id, place, addresses, voter, matched: None, alive: None }
    }

    fn holds(latest: Option<u64>, members: &[Member]) -> Option<u64> {
        holder(3, latest, members).map(|member| member.id)
    }

    #[test]
    fn the_latest_one_that_has_begun_holds_the_place() {
        let mut members = vec![member(1, 1, true), member(2, 2, true), member(3, 3, true)];
        assert_eq!(holds(None, &members), Some(3));
        assert_eq!(holds(Some(100), &members), Some(3), "100 waits for a folder");
        members.push(member(100, 3, false));
        assert_eq!(holds(Some(100), &members), Some(100), "it was lost before it voted");
        assert_eq!(holds(Some(101), &members), Some(3), "101 waits for a folder");
        let voting = [member(1, 1, true), member(100, 3, true)];
        assert_eq!(holds(Some(100), &voting), Some(100));
        assert_eq!(holder(4, None, &members), None);
    }
}
