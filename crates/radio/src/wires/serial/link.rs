//! An open serial port as a stream of bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_serial::{ClearBuffer, SerialPort as _, SerialStream};
use tracing::debug;

use super::opening::{is_gone, share};

/// Pause between two frames: small boards read byte by byte.
pub(super) const FRAME_PAUSE: Duration = Duration::from_millis(50);

/// An open serial port that pauses between frames.
#[derive(Debug)]
pub(in crate::wires) struct SerialLink {
    stream: SerialStream,
    pause: Option<Pin<Box<Sleep>>>,
}

impl SerialLink {
    pub(super) fn new(stream: SerialStream) -> Self {
        Self {
            stream,
            pause: None,
        }
    }
}

impl AsyncRead for SerialLink {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer)).map_err(unless_gone)?;
        // An open port either has data or blocks: no data means that its device is gone.
        if buffer.filled().len() == before && buffer.remaining() > 0 {
            return Poll::Ready(Err(gone()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SerialLink {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(context));
            self.pause = None;
        }
        Pin::new(&mut self.stream)
            .poll_write(context, bytes)
            .map_err(unless_gone)
    }

    /// Ends a frame, without draining the system's buffer, which would block the thread.
    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pause = Some(Box::pin(sleep(FRAME_PAUSE)));
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for SerialLink {
    /// Otherwise closing may block this thread for up to 30 s at a board that reads nothing.
    fn drop(&mut self) {
        let cleared = self.stream.clear(ClearBuffer::Output);
        let shared = share(&mut self.stream);
        if let Err(error) = cleared.and(shared) {
            debug!(%error, "a serial port that is gone is closed");
        }
    }
}

fn gone() -> io::Error {
    let cause = "the serial port is gone (was the radio unplugged, or did it restart?)";
    io::Error::new(io::ErrorKind::NotConnected, cause)
}

/// Converts an error of an open port whose device is gone.
fn unless_gone(error: io::Error) -> io::Error {
    if is_gone(&error) { gone() } else { error }
}
