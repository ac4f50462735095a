//! What the flags' values look like.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use jam_proto::limits::PLACE_MAX;

/// The nodes of a cluster: place → address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers(pub BTreeMap<u64, String>);

impl FromStr for Peers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut peers = BTreeMap::new();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (id, at) = item
                .split_once('=')
                .ok_or_else(|| format!("'{item}' must look like 1=127.0.0.1:7701"))?;
            let id = match id.trim().parse::<u64>() {
                Ok(id) if (1..=PLACE_MAX).contains(&id) => id,
                _ => return Err(format!("'{id}' is no node number: they are 1 to {PLACE_MAX}")),
            };
            if peers.insert(id, address(at.trim())?).is_some() {
                return Err(format!("node {id} is named twice"));
            }
        }
        if peers.is_empty() {
            return Err("name at least this node, as in 1=127.0.0.1:7701".to_owned());
        }
        Ok(Self(peers))
    }
}

/// The range that an election timeout is drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ElectionMs {
    /// The least.
    pub min: u64,
    /// The most. Also how long a leader's lease lasts.
    pub max: u64,
}

impl FromStr for ElectionMs {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("'{text}' must look like 60..95, the least and the most milliseconds");
        let (min, max) = text.split_once("..").ok_or_else(wrong)?;
        let min: u64 = min.trim().parse().map_err(|_| wrong())?;
        let max: u64 = max.trim().parse().map_err(|_| wrong())?;
        // Nodes that draw the same timeout split the vote again and again.
        if min == 0 || max <= min || max > 60_000 {
            return Err(wrong());
        }
        Ok(Self { min, max })
    }
}

/// `HOST:PORT`; the host may be a name, which is resolved when it is needed.
pub(super) fn address(text: &str) -> Result<String, String> {
    let wrong = || format!("'{text}' is no address; it looks like 10.0.0.1:7701");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port_fits = port.parse::<u16>().is_ok_and(|port| port > 0);
    if host.is_empty() || !port_fits || text.parse::<http::uri::Authority>().is_err() {
        return Err(wrong());
    }
    Ok(text.to_owned())
}

const GRACE_SECS_MAX: u64 = 10 * 365 * 24 * 3600;
/// Each takes room on every node.
const RUNGS_MAX: usize = 8;

/// A number of days, hours or minutes. What was just taken out of a room may sound for some seconds more, so a minute is
/// the least.
pub(super) fn grace(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' must look like 7d, 12h or 30m, and be no more than ten years");
    let unit_secs = match text.chars().last() {
        Some('d') => 24 * 3600,
        Some('h') => 3600,
        Some('m') => 60,
        Some('s') => 1,
        _ => return Err(wrong()),
    };
    let count: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let secs = count.checked_mul(unit_secs).filter(|secs| (1..=GRACE_SECS_MAX).contains(secs));
    secs.map(Duration::from_secs).ok_or_else(wrong)
}

/// Bitrates in kbit/s.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ladder(pub Vec<u32>);

/// Bitrates that Opus has (RFC 6716, 2.1.1), or none.
pub(super) fn ladder(text: &str) -> Result<Ladder, String> {
    if text == "none" {
        return Ok(Ladder(Vec::new()));
    }
    let rung = |item: &str| {
        let kbps = item.trim().parse().ok().filter(|kbps| (6..=510).contains(kbps));
        kbps.ok_or_else(|| format!("'{item}' is no bitrate of Opus: 6 to 510 kbit/s, or none"))
    };
    let mut rungs: Vec<u32> = text.split(',').map(rung).collect::<Result<_, _>>()?;
    rungs.sort_unstable();
    rungs.dedup();
    match rungs.len() <= RUNGS_MAX {
        true => Ok(Ladder(rungs)),
        false => Err(format!("a song may have {RUNGS_MAX} renditions")),
    }
}
