//! The doors of a node: one for everybody, or one for clients and one for nodes.
//!
//! A door for nodes has a runtime of its own, and Raft runs there as well: whatever clients do, they hold up no vote, no
//! heartbeat and no log entry.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context, anyhow};
use axum::Router;
use jam_world::{Apart, Listener, World};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::api::admission::{Admission, Serves};
use crate::config::Config;
use crate::formation::Local;
use crate::lines::Lines;
use crate::routing;
use crate::server;

/// Open doors. They close when this is dropped.
pub struct Doors {
    serving: JoinSet<()>,
    /// Where nodes are served, if they have a door of their own.
    apart: Option<Apart>,
}

impl Doors {
    /// Opens them. `main` is what they serve besides how a cluster forms, once it is there.
    ///
    /// # Errors
    /// An address can't be listened on.
    pub async fn open(
        world: &World,
        config: &Config,
        local: &Local,
        main: &Arc<OnceLock<Router>>,
        lines: &Arc<Lines>,
        stops: &watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        let (access, strangers) = (&config.access, config.access.strangers_per_address);
        let routes = |serves| routing::routes(local, main.clone(), Admission::new(access, serves));
        let mut doors = Self { serving: JoinSet::new(), apart: None };
        let listener = listen(world.clone(), config.listen).await?;
        let serves = match config.peer_listen {
            Some(_) => Serves::Clients,
            None => Serves::All,
        };
        doors.serving.spawn(server::serve(
            listener,
            routes(serves),
            lines.clone(),
            strangers,
            stops.clone(),
        ));
        if let Some(at) = config.peer_listen {
            let apart = world.apart("jam-nodes").context("can't start a thread for nodes")?;
            let listener = run(apart.handle(), listen(world.clone(), at)).await?;
            let serve = server::serve(
                listener,
                routes(Serves::Nodes),
                lines.clone(),
                strangers,
                stops.clone(),
            );
            doors.serving.spawn_on(serve, apart.handle());
            doors.apart = Some(apart);
        }
        Ok(doors)
    }

    /// Where Raft is to run.
    pub fn runtime(&self) -> Handle {
        self.apart.as_ref().map_or_else(Handle::current, |apart| apart.handle().clone())
    }

    /// Returns when one of them has closed, with why.
    pub async fn closed(&mut self) -> anyhow::Error {
        match self.serving.join_next().await {
            Some(Err(panic)) => anyhow!("the server failed, which is a bug: {panic}"),
            Some(Ok(())) | None => anyhow!("the server ended, which is a bug"),
        }
    }

    /// Lets what is under way end, but no longer than this. They have been told to close.
    pub async fn drain(&mut self, patience: Duration) {
        let ended = async { while self.serving.join_next().await.is_some() {} };
        if timeout(patience, ended).await.is_err() {
            self.serving.abort_all();
        }
    }
}

async fn listen(world: World, at: SocketAddr) -> anyhow::Result<Box<dyn Listener>> {
    world.net.listen(at).await.with_context(|| format!("can't listen on {at}"))
}

/// Does something on a runtime. It is called off when nobody waits for it any more.
pub async fn run<T: Send + 'static>(
    runtime: &Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    let mut task = JoinSet::new();
    task.spawn_on(work, runtime);
    match task.join_next().await.expect("it was spawned") {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic.into_panic()),
    }
}
