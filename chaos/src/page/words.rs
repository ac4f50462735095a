//! The promises in plain words.

/// What a promise is called on the page, and what it means, a sentence. A promise that has no words here is shown by
/// its name.
pub(super) fn promise(name: &str) -> (String, &'static str) {
    let (title, means) = match name {
        "agreement" => (
            "The nodes agree",
            "All nodes have the same log, make the same rooms of it, lose nothing of it, and never have two leaders in one term.",
        ),
        "acknowledged" => (
            "Acknowledged means kept",
            "What a client was told is done is there, once; what was refused never is.",
        ),
        "order" => (
            "Each room has one order",
            "Every command and every read of a room seems to happen at one instant between its request and its answer.",
        ),
        "linearizable" => (
            "Each room is linearizable",
            "A search that does not trust the log's order finds one that explains all replies and reads.",
        ),
        "songs" => (
            "Songs are kept",
            "Every song that was acknowledged can be fetched whole from every node in the end.",
        ),
        "sometimes" => (
            "The run reached what it is for",
            "A run that never met what its scenario is about proves nothing.",
        ),
        "standing" => (
            "Nodes come back",
            "No crash and no power cut costs a node its disk, and in the end every node runs.",
        ),
        "streams" => (
            "Watchers miss nothing",
            "A watcher gets each event of its room once and in order, whichever nodes it asks.",
        ),
        "shared_time" => (
            "Shared time is one clock",
            "The cluster's time runs evenly whoever leads, never goes back, and nodes tell the truth of how far off they are.",
        ),
        "hearing" => (
            "The music plays on",
            "Listeners hear what their room plays, without gap or jump, at the place where it is due.",
        ),
        "freshness" => (
            "Nobody is left behind",
            "A listener whose time is live knows of every edit soon, even if the node that it followed is cut off.",
        ),
        "progress" => (
            "Things go on",
            "With a healthy majority commands are acknowledged, and once all is healed everyone comes to the same.",
        ),
        "voting" => (
            "Every place votes again",
            "Once all is healed, each place has a voter again, whatever its node and the node's successors lost.",
        ),
        _ => return (name.replace('_', " "), ""),
    };
    (title.to_owned(), means)
}

/// What is counted of how much was judged of a promise.
pub(super) fn judged(name: &str) -> &'static str {
    match name {
        "agreement" => "log entries compared",
        "acknowledged" | "order" => "answers judged",
        "linearizable" => "rooms searched",
        "standing" => "starts of nodes judged",
        "streams" => "messages to watchers judged",
        "shared_time" => "times and stamps judged",
        "hearing" => "sounds and places in songs judged",
        "freshness" => "looks at listeners judged",
        "progress" => "waits and comparisons judged",
        "voting" => "end of a run judged",
        "songs" => "fetched songs judged",
        "impostors" => "impostors judged",
        "sometimes" => "things reached",
        _ => "judged",
    }
}
