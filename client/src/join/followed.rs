//! Who sends the room's events, and whether those may be old: in words and as JSON.

use serde_json::{Value, json};

use crate::follow::{Followed, Outdated};

/// Another node is followed from now on.
pub(super) fn changed(from: u64, to: u64, why: Outdated) -> (Value, String) {
    let value = json!({"event": "following", "node": to, "left": from, "why": why.as_str()});
    let was = match why {
        Outdated::CutOff => "was cut off",
        Outdated::Lags => "was behind",
    };
    (value, format!("follows node {to}: node {from} {was}"))
}

/// The node that is followed is not up to date, and no other one is.
pub(super) fn outdated(node: u64, why: Outdated) -> (Value, String) {
    let value = json!({"event": "outdated", "node": node, "why": why.as_str()});
    let words = format!(
        "{}, and no other node is up to date; playing on from what is here",
        standing(node, why)
    );
    (value, words)
}

/// It is up to date again.
pub(super) fn up_to_date(node: u64) -> (Value, String) {
    (json!({"event": "up_to_date", "node": node}), format!("node {node} is up to date again"))
}

/// For the live line: what is wrong, if something is.
pub(super) fn in_words(followed: Option<Followed>) -> Option<String> {
    let followed = followed?;
    Some(standing(followed.node, followed.outdated?))
}

/// For the line of JSON about how well this listener is in time.
pub(super) fn put_into(value: &mut Value, followed: Option<Followed>) {
    value["node"] = json!(followed.map(|followed| followed.node));
    value["outdated"] =
        json!(followed.and_then(|followed| followed.outdated).map(Outdated::as_str));
}

fn standing(node: u64, why: Outdated) -> String {
    match why {
        Outdated::CutOff => format!("node {node} is cut off"),
        Outdated::Lags => format!("node {node} is behind"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_why_another_node_is_followed() {
        let (value, words) = changed(3, 2, Outdated::CutOff);
        assert_eq!(words, "follows node 2: node 3 was cut off");
        assert_eq!((value["node"].as_u64(), value["left"].as_u64()), (Some(2), Some(3)));
        assert_eq!(value["why"], "cut_off");
        assert_eq!(changed(3, 2, Outdated::Lags).1, "follows node 2: node 3 was behind");
        assert_eq!(
            outdated(3, Outdated::CutOff).1,
            "node 3 is cut off, and no other node is up to date; playing on from what is here"
        );
        assert_eq!(up_to_date(3).1, "node 3 is up to date again");
    }

    #[test]
    fn the_live_line_is_silent_while_all_is_well() {
        let followed = |outdated| Some(Followed { node: 3, outdated });
        assert_eq!(in_words(None), None);
        assert_eq!(in_words(followed(None)), None);
        let behind = in_words(followed(Some(Outdated::Lags)));
        assert_eq!(behind.as_deref(), Some("node 3 is behind"));
        let mut value = json!({});
        put_into(&mut value, followed(Some(Outdated::CutOff)));
        assert_eq!(value, json!({"node": 3, "outdated": "cut_off"}));
        put_into(&mut value, None);
        assert_eq!(value, json!({"node": null, "outdated": null}));
    }
}
