//! A client's connection: its bytes, as its stay allows.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::server::Connected;

use super::frames::Frames;
use super::visit::Visit;

/// A connection. Its place is free when it is dropped.
pub struct Connection {
    stream: jam_world::Stream,
    from: SocketAddr,
    frames: Frames,
    visit: Arc<Visit>,
}

/// Who is at the other end of a request's connection: an extension of each request that came over one.
#[derive(Clone)]
pub struct Caller {
    /// Where it connects from.
    pub from: SocketAddr,
    /// Its stay.
    pub visit: Arc<Visit>,
}

impl Connection {
    /// Of a visit that has begun.
    pub fn new(stream: jam_world::Stream, from: SocketAddr, visit: Arc<Visit>) -> Self {
        Self { stream, from, frames: Frames::new(), visit }
    }

    fn write(
        &mut self,
        write: impl FnOnce(Pin<&mut jam_world::Stream>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.visit.is_cut() {
            return Poll::Ready(Err(cut()));
        }
        let wrote = ready!(write(Pin::new(&mut self.stream)))?;
        self.visit.wrote(wrote);
        Poll::Ready(Ok(wrote))
    }
}

fn cut() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.visit.leave();
    }
}

impl Connected for Connection {
    type ConnectInfo = Caller;

    fn connect_info(&self) -> Caller {
        Caller { from: self.from, visit: self.visit.clone() }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !ready!(self.visit.poll_open(context)) {
            return Poll::Ready(Err(cut()));
        }
        let filled = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        let bytes = &buffer.filled()[filled..];
        let price = self.frames.price(bytes);
        self.visit.read(bytes.len(), price);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(|stream| stream.poll_write(context, buffer))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(|stream| stream.poll_write_vectored(context, buffers))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
