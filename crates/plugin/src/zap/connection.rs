//! One connection of the host: reads requests, answers them in any order.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::answer::Chain;
use super::frame::{Frame, FrameError, PAYLOAD_BYTES_MAX};

/// Requests that are being answered at once; the rest waits unread.
const REQUESTS_MAX: usize = 1000;
/// Bodies that are being answered at once, in KiB: four of the longest.
const REQUEST_KIB_MAX: usize = 4 * (PAYLOAD_BYTES_MAX >> 10);
/// Answers that wait for the socket; who answers then waits as well.
const ANSWERS_MAX: usize = 64;
/// How long the host may take nothing of an answer.
const WRITE_TIME: Duration = Duration::from_secs(30);
/// How much is read for nothing, so that the connection ends with a FIN and not with a reset.
const DRAIN_BYTES_MAX: u64 = 2 * PAYLOAD_BYTES_MAX as u64;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// Serves a connection until it ends or `stopped` says so. What is not answered by then is not
/// answered any more.
pub(super) async fn serve(stream: TcpStream, chain: Arc<Chain>, stopped: watch::Receiver<bool>) {
    let (reading, writing) = stream.into_split();
    let mut reading = BufReader::with_capacity(64 << 10, reading);
    let (answers, waiting) = mpsc::channel(ANSWERS_MAX);
    let writer = tokio::spawn(write(writing, waiting));
    let end = read(&mut reading, &chain, answers, stopped).await;
    // All senders are gone: the writer ends, and with it our direction of the connection.
    if let Err(error) = writer.await {
        tracing::error!(%error, "writing to the host failed");
    }
    if let Err(error) = end {
        tracing::warn!(%error, "the host's connection is of no use any more");
        let mut rest = reading.take(DRAIN_BYTES_MAX);
        let _ = timeout(DRAIN_TIME, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
    }
}

/// Reads requests and starts answering them.
async fn read(
    reading: &mut BufReader<tokio::net::tcp::OwnedReadHalf>,
    chain: &Arc<Chain>,
    answers: mpsc::Sender<Frame>,
    mut stopped: watch::Receiver<bool>,
) -> Result<(), FrameError> {
    let requests = Arc::new(Semaphore::new(REQUESTS_MAX));
    let kibs = Arc::new(Semaphore::new(REQUEST_KIB_MAX));
    // Dropping the set gives up what is being answered; calls that block run to their end.
    let mut answering = JoinSet::new();
    loop {
        while answering.try_join_next().is_some() {}
        let place = take(&requests, 1);
        let next = async { (place.await, Frame::read(reading).await) };
        let (place, frame) = tokio::select! {
            _ = stopped.changed() => return Ok(()),
            () = answers.closed() => return Ok(()), // The host takes no answers.
            next = next => next,
        };
        let frame = match frame {
            Ok(Some(frame)) => frame,
            Ok(None) => return Ok(()),
            Err(error) => {
                if let FrameError::TooLong { kind, request, .. } = &error {
                    // If the writer is gone, nobody is there to read this.
                    let _ = answers.send(Frame::error(*kind, *request, &error.to_string())).await;
                }
                return Err(error);
            }
        };
        let room = take(&kibs, 1 + frame.body.len() / 1024).await;
        let (chain, answers) = (chain.clone(), answers.clone());
        answering.spawn(async move {
            let _held = (place, room);
            let answer = chain.answer(frame).await;
            let _ = answers.send(answer).await; // As above.
        });
    }
}

async fn take(places: &Arc<Semaphore>, count: usize) -> OwnedSemaphorePermit {
    let count = u32::try_from(count).expect("a frame has fewer KiB than that");
    places.clone().acquire_many_owned(count).await.expect("never closed")
}

/// Writes answers, one after the other.
async fn write(mut writing: impl AsyncWrite + Unpin, mut waiting: mpsc::Receiver<Frame>) {
    while let Some(frame) = waiting.recv().await {
        let bytes = match frame.to_bytes() {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::error!(%error, "an answer could not be framed");
                return;
            }
        };
        match timeout(WRITE_TIME, writing.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return tracing::debug!(%error, "the host's connection broke"),
            Err(_) => return tracing::warn!("the host takes no answers: its connection is closed"),
        }
    }
    let _ = writing.shutdown().await; // A broken connection is down already.
}
