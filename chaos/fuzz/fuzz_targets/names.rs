//! What people and headers write: room codes, names, addresses, positions, outputs, peers, ranges.
#![no_main]

use jam_cluster::config::{ElectionMs, Peers};
use jam_cluster::http::{Range, parse_range, parse_track};
use jam_proto::ids::{RoomCode, check_room_name, check_user_name};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, u64)| {
    let (text, total) = input;
    if let Ok(code) = RoomCode::parse(text) {
        assert_eq!(RoomCode::parse(code.as_str()), Ok(code));
    }
    for checked in [check_room_name(text), check_user_name(text)] {
        assert!(checked.is_err() || !text.trim().is_empty());
    }
    if let Ok(address) = jam_client::connection::Address::parse(text) {
        let shown = address.to_string();
        assert_eq!(jam_client::connection::Address::parse(&shown), Ok(address));
    }
    if let Ok(position) = jam_client::cli::position::parse(text) {
        assert!(position.0 >= 0);
    }
    let _ = jam_client::audio::OutputSpec::parse(text);
    let _ = text.parse::<Peers>();
    let _ = text.parse::<ElectionMs>();
    let _ = jam_media::title_from_file_name(text);
    let _ = jam_client::text::pad(text, 20);
    if let Some(track) = parse_track(text) {
        assert_eq!(track.to_string(), text.to_ascii_lowercase());
    }
    if let Range::Part { first, end } = parse_range(text, total) {
        assert!(first < end && end <= total);
    }
});
