//! The public API's messages: what is parsed comes back as itself.
#![no_main]

use jam_fuzz::comes_back;
use jam_proto::command::{Command, Reply, RoomCommand};
use jam_proto::event::{Entry, Event};
use jam_proto::wire::{log, v1};
use libfuzzer_sys::fuzz_target;
use prost::Message;

fuzz_target!(|bytes: &[u8]| {
    comes_back!(Command, v1::Command, bytes);
    comes_back!(Reply, v1::SubmitReply, bytes);
    comes_back!(Entry, v1::Entry, bytes);
    comes_back!(Event, v1::Event, bytes);
    comes_back!(RoomCommand, log::v1::RoomCommand, bytes);
    if let Ok(request) = v1::SubmitRequest::decode(bytes)
        && let Ok(command) = RoomCommand::from_request(&request)
    {
        assert_eq!(RoomCommand::from_request(&command.to_request(1)), Ok(command));
    }
});
