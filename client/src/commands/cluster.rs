//! For operators.

use jam_proto::ids::TrackId;
use jam_proto::wire::v1 as wire;
use serde_json::{Value, json};

use crate::cli::{ClusterVerb, Options};
use crate::connection::Cluster;
use crate::error::Failure;
use crate::output::Output;
use crate::text;

pub(super) async fn run(
    options: &Options,
    verb: ClusterVerb,
    output: Output,
) -> Result<(), Failure> {
    let mut cluster = options.find().await?;
    match verb {
        ClusterVerb::Status => status(&cluster, output),
        ClusterVerb::Nodes => nodes(&cluster, output),
        ClusterVerb::Transfer { to } => {
            return transfer(&mut cluster, to.unwrap_or(0), output).await;
        }
        ClusterVerb::Replace { node } => return replace(&mut cluster, node, output).await,
        ClusterVerb::Raise { force } => return raise(&mut cluster, force, output).await,
        ClusterVerb::Songs { lost } => return songs(&mut cluster, lost, output).await,
        ClusterVerb::Snapshot => return snapshot(&mut cluster, output).await,
    }
    Ok(())
}

fn status(cluster: &Cluster, output: Output) {
    let standing = cluster.standing();
    output.show(
        || {
            let nodes: Vec<Value> = standing.nodes.iter().map(node_json).collect();
            json!({
                "leader": some_node(standing.leader),
                "term": standing.term,
                "epoch": standing.epoch,
                "level": standing.level,
                "answered_by": standing.answered_by,
                "nodes": nodes,
            })
        },
        || {
            let leader = match some_node(standing.leader) {
                Some(leader) => format!(
                    "node {leader} leads in term {}, clock epoch {}, feature level {}",
                    standing.term, standing.epoch, standing.level
                ),
                None => format!(
                    "no leader is known to node {}: edits are refused until a majority runs",
                    standing.answered_by
                ),
            };
            format!("{leader}\n{}", node_table(standing))
        },
    );
}

fn nodes(cluster: &Cluster, output: Output) {
    let standing = cluster.standing();
    if output.is_json() {
        for node in &standing.nodes {
            output.show(|| node_json(node), String::new);
        }
    } else {
        output.show(|| Value::Null, || node_table(standing));
    }
}

async fn transfer(cluster: &mut Cluster, to: u64, output: Output) -> Result<(), Failure> {
    // Handing over twice may hand over to a third, so an attempt without an answer is left unknown.
    let mut maybe_applied = false;
    let reply = cluster
        .edit("the transfer", &mut maybe_applied, async |door, _| {
            door.cluster().transfer(wire::TransferRequest { to }).await
        })
        .await?;
    output.show(|| json!({"leader": reply.leader}), || format!("node {} leads", reply.leader));
    Ok(())
}

async fn replace(cluster: &mut Cluster, node: u64, output: Output) -> Result<(), Failure> {
    let mut maybe_applied = false;
    // While a replacement is pending, asking for it again answers the same.
    let reply = cluster
        .edit("the replacement", &mut maybe_applied, async |door, _| {
            door.cluster().replace(wire::ReplaceRequest { node }).await
        })
        .await?;
    output.show(
        || json!({"node": node, "replacement": reply.replacement, "state": reply.state}),
        || text::clean(&reply.state),
    );
    Ok(())
}

async fn raise(cluster: &mut Cluster, force: bool, output: Output) -> Result<(), Failure> {
    let mut maybe_applied = false;
    // The level never falls, so asking again does no harm.
    let reply = cluster
        .edit("the new feature level", &mut maybe_applied, async |door, _| {
            door.cluster().raise_level(wire::RaiseLevelRequest { force }).await
        })
        .await?;
    output.show(
        || json!({"level": reply.level}),
        || format!("the cluster runs at feature level {}", reply.level),
    );
    Ok(())
}

async fn songs(
    cluster: &mut Cluster,
    lost: Option<TrackId>,
    output: Output,
) -> Result<(), Failure> {
    let mark = lost.map(|id| id.to_wire()).unwrap_or_default();
    let mut maybe_applied = false;
    // A song that is marked already stays as it is.
    let reply = cluster
        .edit("the list of lost songs", &mut maybe_applied, async |door, _| {
            door.cluster().lost_songs(wire::LostSongsRequest { mark: mark.clone() }).await
        })
        .await?;
    if output.is_json() {
        for song in &reply.songs {
            output.show(|| song_json(song), String::new);
        }
    } else {
        output.show(|| Value::Null, || song_table(&reply.songs));
    }
    Ok(())
}

async fn snapshot(cluster: &mut Cluster, output: Output) -> Result<(), Failure> {
    let node = cluster.standing().answered_by;
    let reply = cluster
        .ask("the snapshot", async |door, _| {
            door.cluster().snapshot(wire::SnapshotRequest {}).await
        })
        .await?;
    output.show(
        || json!({"node": node, "index": reply.index}),
        || format!("node {node} has a snapshot up to log index {}", reply.index),
    );
    Ok(())
}

fn some_node(id: u64) -> Option<u64> {
    (id != 0).then_some(id)
}

fn node_json(node: &wire::NodeStatus) -> Value {
    json!({
        "id": node.id,
        "address": node.address,
        "role": node.role,
        "applied": node.applied,
        "alive": node.alive,
        "place": node.place,
    })
}

fn song_json(song: &wire::LostSong) -> Value {
    json!({
        "id": song_id(song),
        "title": song.title,
        "artist": song.artist,
        "lost": song.marked,
        "state": song.state,
    })
}

fn song_table(songs: &[wire::LostSong]) -> String {
    if songs.is_empty() {
        return "no song is lost".to_owned();
    }
    let row = |song: &wire::LostSong| {
        vec![
            song_id(song),
            text::clean(&song.title),
            text::clean(&song.artist),
            text::clean(&song.state),
        ]
    };
    text::table(&songs.iter().map(row).collect::<Vec<_>>())
}

fn song_id(song: &wire::LostSong) -> String {
    TrackId::from_wire(&song.id).map_or_else(|_| "?".to_owned(), |id| id.to_string())
}

fn node_table(standing: &wire::ClusterStatusReply) -> String {
    let rows: Vec<Vec<String>> = standing
        .nodes
        .iter()
        .map(|node| {
            vec![
                format!("  node {}", node.id),
                text::clean(&node.address),
                text::clean(&node.role),
                format!("applied {}", node.applied),
                if node.alive { "alive" } else { "not answering" }.to_owned(),
            ]
        })
        .collect();
    text::table(&rows)
}
