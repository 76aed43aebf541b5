//! What `relay matrix` asks a running daemon for, done on the daemon's own session.

use std::io;
use std::pin::pin;

use futures_util::StreamExt as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use tokio_util::bytes::BytesMut;

use super::{CLIENT_LIMIT, Control, ControlAnswer};
use relay_matrix::hand::{Done, Hand, HandError, Operation, too_large};

/// How many bytes are read at a time.
const CHUNK: usize = 64 * 1024;

impl Control {
    /// Carries an operation out, and answers it. `rest` is what was read behind the request.
    pub(super) async fn work(
        &self,
        operation: Operation,
        rest: &mut BytesMut,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let Ok(_place) = self.runtime_state.hands.places.try_acquire() else {
            let busy = "too many commands work with the account of this relay";
            let error = HandError::cured(busy, "wait for the end of one, or end it");
            return answer(writer, Err(error)).await;
        };
        let mut session = self.runtime_state.hands.session.subscribe();
        let Some(hand) = session.borrow_and_update().clone() else {
            return answer(writer, Err(self.no_session())).await;
        };
        // The store is closed with the session: nothing may go on with it then.
        tokio::select! {
            _ = session.changed() => answer(writer, Err(self.no_session())).await,
            done = Box::pin(with(&hand, operation, rest, reader, writer)) => done,
        }
    }

    fn no_session(&self) -> HandError {
        let Err(none) = self.runtime_state.facts().session else {
            return HandError::new("the relay opens its Matrix session anew");
        };
        HandError {
            error: format!("the relay that runs cannot use Matrix: {}", none.cause),
            cure: none.hint,
        }
    }
}

async fn with(
    hand: &Hand,
    operation: Operation,
    rest: &mut BytesMut,
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut bytes = Vec::new();
    match &operation {
        Operation::Listen { room } => return listen(hand, room, reader, writer).await,
        Operation::Upload(attachment) => {
            let limit = match hand.limit().await {
                Ok(limit) => limit,
                Err(error) => return refuse(writer, error).await,
            };
            // The thumbnail is smaller than the picture, or close to it.
            if attachment.size > limit || attachment.bytes() > limit.saturating_mul(2) {
                let error = too_large(&attachment.name, attachment.size, limit);
                return refuse(writer, error).await;
            }
            bytes = upload(attachment.bytes(), rest, reader).await?;
        }
        _ => {}
    }
    answer(writer, hand.perform(operation, bytes).await).await
}

/// Reads what follows an upload: it is sent in full, or the connection ends.
async fn upload(
    size: u64,
    rest: &mut BytesMut,
    reader: &mut (impl AsyncRead + Unpin),
) -> io::Result<Vec<u8>> {
    let size = usize::try_from(size).map_err(io::Error::other)?;
    let mut bytes = rest.split_to(rest.len().min(size)).to_vec();
    while bytes.len() < size {
        let before = bytes.len();
        let wanted = CHUNK.min(size.saturating_sub(before));
        let mut part = reader.take(u64::try_from(wanted).map_err(io::Error::other)?);
        let read = timeout(CLIENT_LIMIT, part.read_buf(&mut bytes)).await??;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(bytes)
}

/// Tells what is heard until the client is gone. A client that reads slowly misses some, and is told so; nothing waits for it.
async fn listen(
    hand: &Hand,
    room: &str,
    reader: &mut (impl AsyncRead + Unpin),
    writer: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let heard = match hand.listen(room).await {
        Ok(heard) => heard,
        Err(error) => return answer(writer, Err(error)).await,
    };
    let mut heard = pin!(heard);
    let telling = async {
        while let Some(done) = heard.next().await {
            writer.write_all(&line(Ok(done))?).await?;
        }
        Ok(())
    };
    let mut byte = [0; 1];
    tokio::select! {
        told = telling => told,
        // It is gone, or says something, which ends the listening.
        read = reader.read(&mut byte) => Err(read.err().unwrap_or(io::ErrorKind::UnexpectedEof.into())),
    }
}

/// Answers, and ends the connection: the bytes that follow are not read.
async fn refuse(writer: &mut (impl AsyncWrite + Unpin), error: HandError) -> io::Result<()> {
    answer(writer, Err(error)).await?;
    Err(io::ErrorKind::InvalidInput.into())
}

async fn answer(
    writer: &mut (impl AsyncWrite + Unpin),
    done: Result<Done, HandError>,
) -> io::Result<()> {
    timeout(CLIENT_LIMIT, writer.write_all(&line(done)?)).await?
}

fn line(done: Result<Done, HandError>) -> io::Result<Vec<u8>> {
    let mut text = serde_json::to_vec(&ControlAnswer::Matrix(done))?;
    text.push(b'\n');
    Ok(text)
}
