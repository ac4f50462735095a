//! A run: nodes, clients and watchers in one process, and a director who breaks them as planned.

use std::cell::Cell;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::{join, join_all};
use jam_proto::ids::RoomCode;

use super::director::Director;
use super::machine::Machine;
use super::node::{Seat, address};
use super::plan::{
    CLIENTS, DESKS, LISTENERS, NODES, OFFICE, Plan, WATCH, WATCHERS, desk_name, listener_name,
    node_name,
};
use super::site::Site;
use super::time::Time;
use crate::book::Book;
use crate::crowd::{Client, Guest, Host, Orders, Scene, Song, Watcher, operate};
use crate::history::{History, Phase, What};
use crate::seed::Stream;
use crate::tellsong;
use crate::testsong::{position_coded, wav};

const HOST: &str = "host";
/// Where clients keep what is theirs, each on its own machine.
const HOME: &str = "/home";
/// Two that everybody edits, and the one of the host.
const ROOMS: usize = 3;
/// Clients rest for so long at the end: what they asked for last is answered.
const REST_NS: i64 = 5_000_000_000;
const SONG_RATE: u32 = 8000;
/// That of the listeners' devices: seams stay short.
const CONCERT_RATE: u32 = 48_000;

/// Runs a plan in this process, which must be fresh and whose entropy is that of the seed.
///
/// # Errors
/// If the simulation itself failed.
pub fn run(plan: &Plan, time: &Arc<Time>) -> anyhow::Result<History> {
    let book = Book::new(time.clone());
    let mut site = Site::new(plan.seed, (plan.latency_ms_min, plan.latency_ms_max), time);
    let mut director = populate(&mut site, plan, time, &book)?;
    book.note(What::Phase(Phase::Safety));
    for at_ms in 0..plan.for_ms {
        // First what ends, so that a fault that begins now finds a healed world.
        for (number, fault) in (1..).zip(&plan.faults).filter(|(_, fault)| fault.until_ms == at_ms)
        {
            director.heal(&mut site, number, fault)?;
        }
        for (number, fault) in (1..).zip(&plan.faults).filter(|(_, fault)| fault.at_ms == at_ms) {
            director.break_it(&mut site, number, fault)?;
        }
        if at_ms == plan.liveness_ms {
            book.note(What::Phase(Phase::Liveness));
        }
        if at_ms == plan.healed_ms {
            book.note(What::Phase(Phase::Healed));
        }
        site.step()?;
        director.burn(&mut site);
    }
    director.tell_states();
    Ok(book.take())
}

fn populate(
    site: &mut Site,
    plan: &Plan,
    time: &Arc<Time>,
    book: &Book,
) -> anyhow::Result<Director> {
    let mut wire = |name: &str| {
        let machine = Machine::new(plan.seed, name, time);
        site.add(&machine);
        machine
    };
    let orders = Orders::default();
    let seat = |place| {
        let machine = wire(&node_name(place));
        (place, Seat::new(place, machine, book.clone(), orders.clone(), plan))
    };
    let seats = (1..=NODES).map(seat).collect();
    let desks: Vec<_> = (1..=DESKS).map(|number| wire(&desk_name(number))).collect();
    let watch = wire(WATCH);
    let guests: Vec<_> = (1..=LISTENERS).map(|number| wire(&listener_name(number))).collect();
    let office = wire(OFFICE);

    let mut director = Director::new(book, seats, orders.clone());
    director.start_nodes(site)?;
    let scene = scene(plan, book);
    for (desk, machine) in (0..).zip(desks) {
        let (scene, lives) = (scene.clone(), Cell::new(0));
        let name = machine.name().to_owned();
        director.start_client(site, &name, move |site| {
            lives.set(lives.get() + 1);
            let (life, scene, world) = (lives.get(), scene.clone(), machine.world());
            site.start(machine.name(), async move {
                let client = |number| {
                    let name = format!("c{}", desk * CLIENTS + number);
                    Client::new(&name, life, &world, scene.clone()).run()
                };
                join_all((1..=CLIENTS).map(client)).await;
            })
        })?;
    }
    let (seen, lives) = (scene.clone(), Cell::new(0));
    director.start_client(site, WATCH, move |site| {
        lives.set(lives.get() + 1);
        let (life, scene, world) = (lives.get(), seen.clone(), watch.world());
        site.start(WATCH, async move {
            let watcher = |number| Watcher::new(number, life, &world, scene.clone()).run();
            join_all((1..=WATCHERS).map(watcher)).await;
        })
    })?;
    for machine in guests {
        let guest = Guest::new(machine.name(), machine.clocks().clone(), &scene);
        let name = machine.name().to_owned();
        director.start_client(site, &name, move |site| {
            let (guest, world) = (guest.clone(), machine.world());
            site.start(machine.name(), async move { guest.listen(world).await })
        })?;
    }
    let world = office.world();
    site.start(OFFICE, async move {
        let addresses = scene.addresses.clone();
        join(Host::new(HOST, &world, scene).run(), operate(&world, &addresses, orders)).await;
    })?;
    Ok(director)
}

fn scene(plan: &Plan, book: &Book) -> Scene {
    let mut draws = Stream::new(plan.seed, "scene");
    let rooms = (0..ROOMS).map(|_| RoomCode::from_random(draws.draw())).collect();
    let songs = [2.0, 3.5].map(|secs| {
        let samples = position_coded(draws.draw(), SONG_RATE, secs);
        Song::new(wav(&samples, 1, SONG_RATE), secs)
    });
    let concert = (0..).zip([3.0, 4.3, 5.9]).map(|(number, secs): (usize, f64)| {
        let frames = (secs * f64::from(CONCERT_RATE)) as usize;
        Song::new(wav(&tellsong::song(number, frames), 2, CONCERT_RATE), secs)
    });
    let healed_ns = plan.healed_ms as i64 * 1_000_000;
    let until_ns = plan.for_ms as i64 * 1_000_000 - REST_NS;
    let (book, seed, concert) = (book.clone(), plan.seed, concert.collect());
    let addresses = (1..=NODES).map(address).collect();
    let home = PathBuf::from(HOME);
    Scene { rooms, songs: songs.into(), concert, addresses, home, book, seed, healed_ns, until_ns }
}
