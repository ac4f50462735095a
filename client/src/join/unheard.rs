//! That no leader's clock is heard: in words and as JSON.

use serde_json::{Value, json};

use crate::connection::NoAnswer;
use crate::news::Unheard;
use crate::text;

/// What is told of it once.
pub(super) fn unheard(why: &Unheard, has_time: bool) -> (Value, String) {
    let (what, node, silent) = match why {
        Unheard::Leader { node, at } => ("leader", Some(*node), std::slice::from_ref(at)),
        Unheard::NoLeader { silent } => ("no_leader", None, &silent[..]),
        Unheard::Nobody { silent } => ("nobody", None, &silent[..]),
    };
    let silent: Vec<Value> = silent
        .iter()
        .map(|NoAnswer { address, why, .. }| json!({"address": address.to_string(), "why": why}))
        .collect();
    let value = json!({"event": "unheard", "why": what, "node": node, "silent": silent, "has_time": has_time});
    let meaning = match (has_time, why) {
        (true, _) => "playing on by the time that was heard before",
        (false, Unheard::Leader { .. }) => {
            "nothing sounds before its clock is heard; see that the address can be reached from here"
        }
        (false, _) => "nothing sounds before a leader's clock is heard",
    };
    (value, text::clean(&format!("{why}; {meaning}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::Address;

    fn no_answer(address: &str, why: &str) -> NoAnswer {
        let address = Address::parse(address).expect("an address");
        NoAnswer { address, why: why.into(), is_definite: false }
    }

    #[test]
    fn it_is_said_who_does_not_answer_where_and_what_that_means() {
        let leader = Unheard::Leader { node: 2, at: no_answer("10.0.0.2:7702", "no answer") };
        let (value, words) = unheard(&leader, false);
        assert_eq!(
            words,
            "node 2 leads and does not answer at 10.0.0.2:7702: no answer; nothing sounds before its clock is heard; see that the address can be reached from here"
        );
        assert_eq!(
            (value["node"].as_u64(), &value["silent"][0]["address"]),
            (Some(2), &json!("10.0.0.2:7702"))
        );
        let silent = vec![
            no_answer("b:7702", "nothing listens there"),
            no_answer("c:7703", "nothing listens there"),
        ];
        let (_, words) = unheard(&Unheard::NoLeader { silent }, true);
        assert_eq!(
            words,
            "no node leads: a majority has to run (b:7702, c:7703: nothing listens there); playing on by the time that was heard before"
        );
    }
}
