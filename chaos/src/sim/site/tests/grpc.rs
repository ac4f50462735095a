//! tonic over the simulated network, streams both ways included.

use std::io::IoSlice;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream::{self, BoxStream, StreamExt};
use jam_proto::wire::v1::time_client::TimeClient;
use jam_proto::wire::v1::time_server::{self, TimeServer};
use jam_proto::wire::v1::{TimeProbe, TimeReply};
use jam_world::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::{Connected, Server};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};

use super::*;

/// Answers each probe by the time on the raw clock.
struct Clock(World);

#[tonic::async_trait]
impl time_server::Time for Clock {
    type SyncStream = BoxStream<'static, Result<TimeReply, Status>>;

    async fn sync(
        &self,
        probes: Request<Streaming<TimeProbe>>,
    ) -> Result<Response<Self::SyncStream>, Status> {
        let world = self.0.clone();
        let replies = probes.into_inner().map(move |probe| {
            let received = world.clock.raw_ns();
            Ok(TimeReply { seq: probe?.seq, received, ..TimeReply::default() })
        });
        Ok(Response::new(replies.boxed()))
    }
}

struct Incoming(Stream);

impl Connected for Incoming {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Incoming {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Incoming {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, buffer)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

async fn serve_time(world: World) -> Outcome {
    let listener = world.net.listen(([0, 0, 0, 0], 7400).into()).await?;
    let incoming = stream::unfold(listener, |listener| async {
        Some((listener.accept().await.map(|(stream, _)| Incoming(stream)), listener))
    });
    let routes = Server::builder().add_service(TimeServer::new(Clock(world)));
    Ok(routes.serve_with_incoming(incoming).await?)
}

/// Sends a probe each 100 ms, and says how many were answered before the stream broke, or a hundred were.
async fn probe(channel: Channel, world: &World) -> Result<u64, Status> {
    let probes = stream::unfold(0, |seq| async move {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some((TimeProbe { seq, ..TimeProbe::default() }, seq + 1))
    });
    let mut replies = TimeClient::new(channel).sync(probes).await?.into_inner();
    let mut answered = 0;
    let mut offsets_ns = Vec::new();
    while let Ok(Some(reply)) = replies.message().await {
        assert_eq!(reply.seq, answered, "in order");
        offsets_ns.push(reply.received - world.clock.raw_ns());
        answered += 1;
        if answered == 100 {
            break;
        }
    }
    // Both clocks run evenly, and no reply is longer under way than the slowest message.
    if let (Some(min), Some(max)) = (offsets_ns.iter().min(), offsets_ns.iter().max()) {
        assert!(max - min < 105_000_000, "{}", max - min);
    }
    Ok(answered)
}

#[test]
fn streams_run_break_and_come_back() -> Outcome {
    let (mut site, machines) = site(&["server", "client"]);
    let (server, client) = (machines[0].clone(), machines[1].clone());
    let counts = Rc::new(RefCell::new(Vec::new()));
    let counted = counts.clone();
    let probes = async move {
        let world = client.world();
        let start = tokio::time::Instant::now();
        let endpoint = Endpoint::from_static("http://server:7400")
            .connect_timeout(Duration::from_millis(500))
            .http2_keep_alive_interval(Duration::from_millis(500))
            .keep_alive_timeout(Duration::from_millis(500));
        let connected = world.connect(endpoint.clone()).await?;
        let count = probe(connected, &world).await?;
        counted.borrow_mut().push(count);
        // Breaks twice: by a cut link, which only the pings notice, and by a killed server.
        let lazy = world.channel(endpoint);
        while start.elapsed() < Duration::from_secs(40) {
            match probe(lazy.clone(), &world).await {
                Ok(count) => counted.borrow_mut().push(count),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
        Ok(())
    };
    site.start("server", well(serve_time(server.world())))?;
    (0..10).try_for_each(|_| site.step())?;
    site.start("client", well(probes))?;
    while site.is_running("client") {
        site.step()?;
        match site.elapsed().as_millis() {
            15_000 => {
                site.cut(1, "client", "server");
                site.cut(1, "server", "client");
            }
            18_000 => site.heal(1),
            24_000 => site.kill("server"),
            27_000 => site.start("server", well(serve_time(server.world())))?,
            _ => {}
        }
    }
    let counts = counts.borrow();
    assert_eq!(counts[0], 100, "{counts:?}");
    assert_eq!(counts.iter().filter(|count| (20..90).contains(*count)).count(), 2, "{counts:?}");
    assert!(counts[3..].contains(&100), "{counts:?}");
    Ok(())
}
