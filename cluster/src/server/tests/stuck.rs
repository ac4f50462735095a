//! A client that asks and then takes nothing, over a real socket.

use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::*;
use crate::answers::{Message, attach, put_in_place};

const HANGS: Duration = Duration::from_secs(60);

/// Without an end.
async fn answer(lines: Arc<Lines>, request: Request) -> Response {
    let peer = request.extensions().get::<RemoteAddress>().map(|remote| remote.0);
    let message = || Ok(Message::ready(Bytes::from(vec![0; 16 << 10])));
    let attached = attach((), lines.of(peer), stream::repeat_with(message));
    let mut response = Response::default();
    *response.extensions_mut() = attached.extensions().clone();
    put_in_place(response).await
}

#[tokio::test]
async fn a_connection_that_takes_nothing_is_closed() {
    let (world, lines) = (World::real(), Arc::<Lines>::default());
    let free = std::net::TcpListener::bind("127.0.0.1:0");
    let at = free.and_then(|free| free.local_addr()).expect("a port");
    let listener = world.net.listen(at).await.expect("listens");
    let answering = lines.clone();
    let open = Arc::new(Admission::new(&Access::default(), Serves::All));
    let router = Router::new()
        .fallback(move |request| answer(answering.clone(), request))
        .layer(middleware::from_fn_with_state(open, admission::check));
    let (_stop, stopped) = watch::channel(false);
    let serving = tokio::spawn(serve(listener, router, lines.clone(), None, stopped));

    let mut client = TcpStream::connect(at).await.expect("connects");
    client.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.expect("asks");
    let stuck = async {
        while lines.close_stuck(Instant::now() + HANGS) == 0 {
            tokio::task::yield_now().await;
        }
        // What was sent before is there to be read, and then nothing.
        let _ = client.read_to_end(&mut Vec::new()).await;
    };
    timeout(HANGS, stuck).await.expect("the connection ends");
    serving.abort();
}
