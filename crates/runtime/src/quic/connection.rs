//! One connection: two streams and the datagrams, from `Connected` to `Disconnected`.

use std::future::pending;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use quinn::{Connection, RecvStream, SendDatagramError, SendStream, WriteError};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::endpoint::Shared;
use super::frame::{FrameReader, lay_out};
use super::queue::{BULK_BYTES_MAX, INTERACTIVE_BYTES_MAX, Queue, Refused, Total};
use super::slots::Slot;
use super::tls::{EXPORTER_LABEL, key_of};
use super::{Class, CloseReason, ConnId, Event, FRAME_BYTES_MAX, PeerKey, SendError};

/// Bytes of datagrams that wait in either direction; heartbeats are small, and old ones worthless.
pub const DATAGRAM_BYTES_MAX: usize = 64 << 10;

/// The first byte on the interactive stream.
const INTERACTIVE_HEADER: u8 = 1;

/// The first byte on the bulk stream.
const BULK_HEADER: u8 = 2;

/// The stream-carried classes.
const LANES: [Class; 2] = [Class::Interactive, Class::Bulk];

/// What the rest of the endpoint holds of a connection.
pub(super) struct Conn {
    id: ConnId,
    quinn: Connection,
    interactive: Queue,
    bulk: Queue,
    /// The reason of the side that closed first, when that is ours.
    closing: OnceLock<CloseReason>,
    frame_seen: AtomicBool,
    lanes_open: [AtomicBool; 2],
    /// Per stream, one permit once all its frames are acknowledged; closed with the connection.
    drained: [Semaphore; 2],
}

impl Conn {
    pub(super) fn new(id: ConnId, quinn: Connection, total: &Arc<Total>) -> Self {
        Self {
            id,
            quinn,
            interactive: Queue::new(INTERACTIVE_BYTES_MAX, total.clone()),
            bulk: Queue::new(BULK_BYTES_MAX, total.clone()),
            closing: OnceLock::new(),
            frame_seen: AtomicBool::new(false),
            lanes_open: [AtomicBool::new(false), AtomicBool::new(false)],
            drained: [Semaphore::new(0), Semaphore::new(0)],
        }
    }

    pub(super) fn send(&self, class: Class, frame: Bytes) -> Result<(), SendError> {
        if class == Class::Datagram {
            return self.send_datagram(frame);
        }
        let sent = self.queued(class, frame, Queue::push);
        if let Err(SendError::QueueFull { class, waiting }) = sent {
            self.close(CloseReason::QueueFull { class, waiting });
        }
        sent
    }

    /// Sends a frame of a stream that may be lost, while no more than half of its queue is taken.
    pub(super) fn offer(&self, class: Class, frame: Bytes) -> Result<(), SendError> {
        self.queued(class, frame, Queue::offer)
    }

    fn queued(
        &self,
        class: Class,
        frame: Bytes,
        put: impl FnOnce(&Queue, Bytes) -> Result<(), Refused>,
    ) -> Result<(), SendError> {
        let size = frame.len();
        if size > FRAME_BYTES_MAX {
            return Err(SendError::TooLarge { size, limit: FRAME_BYTES_MAX });
        }
        put(self.queue(class), frame).map_err(|refused| match refused {
            Refused::Closed => SendError::NotConnected(self.id),
            Refused::Full { waiting } => SendError::QueueFull { class, waiting },
        })
    }

    fn send_datagram(&self, frame: Bytes) -> Result<(), SendError> {
        let size = frame.len();
        self.quinn.send_datagram(frame).map_err(|error| match error {
            SendDatagramError::TooLarge => {
                SendError::TooLarge { size, limit: self.quinn.max_datagram_size().unwrap_or(0) }
            }
            _ => SendError::NotConnected(self.id),
        })
    }

    /// Closes for `reason`; the first reason counts.
    pub(super) fn close(&self, reason: CloseReason) {
        let (code, text) = (reason.var_code(), reason.to_string());
        let open = self.quinn.close_reason().is_none();
        if open && self.closing.set(reason).is_ok() {
            self.quinn.close(code, text.as_bytes());
        }
    }

    pub(super) fn waiting(&self, class: Class) -> usize {
        if class == Class::Datagram { 0 } else { self.queue(class).waiting() }
    }

    pub(super) fn rtt(&self) -> Duration {
        self.quinn.rtt()
    }

    /// Waits until the peer has acknowledged all that waited, at most for `deadline`.
    pub(super) async fn drain(&self, deadline: Duration) {
        self.interactive.close();
        self.bulk.close();
        let all = async {
            for class in LANES {
                let (queue, lane) = (self.queue(class), lane_index(class));
                if !queue.is_empty() || self.lanes_open[lane].load(Ordering::Acquire) {
                    // An error says that the connection has ended: nothing is left to wait for.
                    let _ = self.drained[lane].acquire().await;
                }
            }
        };
        // At the deadline, what is left is lost with the connection.
        let _ = timeout(deadline, all).await;
    }

    /// The queue of a stream-carried class.
    fn queue(&self, class: Class) -> &Queue {
        if class == Class::Interactive { &self.interactive } else { &self.bulk }
    }
}

/// Where a stream-carried class is in the arrays of a connection.
fn lane_index(class: Class) -> usize {
    usize::from(class == Class::Bulk)
}

/// Runs a connection whose handshake is complete until it ends.
pub(super) async fn run<P: Send + 'static>(
    shared: Arc<Shared<P>>,
    quinn: Connection,
    dial: Option<u64>,
    slot: Slot,
) {
    let conn = Arc::new(Conn::new(shared.next_id(), quinn.clone(), &shared.queued));
    shared.insert(conn.id, conn.clone());
    let mut exporter = [0; 32];
    let exported = quinn.export_keying_material(&mut exporter, EXPORTER_LABEL, &[]);
    exported.expect("32 bytes are within what any exporter gives");
    let connected = Event::Connected {
        conn: conn.id,
        inbound: dial.is_none(),
        remote: quinn.remote_address(),
        peer_key: peer_key(&quinn),
        exporter,
        dial,
    };
    if shared.events.send((connected, None)).await.is_ok() {
        serve(&shared, &conn, dial.is_none()).await;
    } else {
        conn.close(CloseReason::ShuttingDown);
    }
    shared.remove(conn.id);
    conn.drained.iter().for_each(Semaphore::close);
    let ended = quinn.closed().await;
    let why = conn.closing.get().cloned().unwrap_or_else(|| ended.into());
    let gone = Event::Disconnected { conn: conn.id, why };
    // Whoever hears of the end finds place and memory free again.
    drop((conn, slot));
    // Without a listener nobody needs to know.
    let _ = shared.events.send((gone, None)).await;
}

/// The key in the peer's `SubjectPublicKeyInfo`, whose form and possession TLS has checked.
fn peer_key(quinn: &Connection) -> Option<PeerKey> {
    let identity = quinn.peer_identity()?;
    let chain = identity.downcast_ref::<Vec<rustls::pki_types::CertificateDer<'static>>>()?;
    key_of(chain.first()?)
}

/// Runs streams and datagrams until the connection is closed and all that arrived is delivered.
async fn serve<P: Send + 'static>(shared: &Arc<Shared<P>>, conn: &Arc<Conn>, inbound: bool) {
    let mut tasks = JoinSet::new();
    for class in LANES {
        let (shared, conn) = (shared.clone(), conn.clone());
        if inbound {
            tasks.spawn(async move { accept_lane(&shared, &conn).await });
        } else {
            tasks.spawn(async move { open_lane(&shared, &conn, class).await });
        }
    }
    {
        let (shared, conn) = (shared.clone(), conn.clone());
        tasks.spawn(async move { datagrams(&shared, &conn).await });
    }
    let watchdog = first_frame(conn, shared.options.first_frame_timeout.filter(|_| inbound));
    tokio::pin!(watchdog);
    let mut lanes = LANES.len();
    loop {
        tokio::select! {
            _ = conn.quinn.closed() => break,
            reason = &mut watchdog => {
                conn.close(reason);
                break;
            }
            Some(ended) = tasks.join_next() => match ended {
                Ok(Ok(())) => {
                    lanes -= 1;
                    if lanes == 0 {
                        conn.close(CloseReason::Finished);
                    }
                }
                Ok(Err(reason)) => conn.close(reason),
                Err(panicked) => {
                    tracing::error!(error = %panicked, "a connection's task failed");
                    conn.close(CloseReason::Asked("internal error".into()));
                }
            },
        }
    }
    conn.interactive.close();
    conn.bulk.close();
    // The streams see the end once they have handed over what arrived before it.
    while tasks.join_next().await.is_some() {}
}

/// Ends with a reason when no whole frame arrives in time.
async fn first_frame(conn: &Conn, within: Option<Duration>) -> CloseReason {
    if let Some(within) = within {
        sleep(within).await;
        if !conn.frame_seen.load(Ordering::Relaxed) {
            return CloseReason::NoFirstFrame { within };
        }
    }
    pending().await
}

async fn open_lane<P: Send + 'static>(
    shared: &Arc<Shared<P>>,
    conn: &Arc<Conn>,
    class: Class,
) -> Result<(), CloseReason> {
    let (mut send, recv) = conn.quinn.open_bi().await?;
    send.write_all(&[header_of(class)]).await.map_err(broken)?;
    let reader = FrameReader::new(recv, shared.options.frame_timeout);
    lane(shared, conn, class, send, reader).await
}

async fn accept_lane<P: Send + 'static>(
    shared: &Arc<Shared<P>>,
    conn: &Arc<Conn>,
) -> Result<(), CloseReason> {
    let (send, recv) = conn.quinn.accept_bi().await?;
    let mut reader = FrameReader::new(recv, shared.options.frame_timeout);
    let header = reader.header().await?;
    let class = match header {
        INTERACTIVE_HEADER => Class::Interactive,
        BULK_HEADER => Class::Bulk,
        _ => return Err(CloseReason::StreamHeader(header)),
    };
    lane(shared, conn, class, send, reader).await
}

fn header_of(class: Class) -> u8 {
    if class == Class::Interactive { INTERACTIVE_HEADER } else { BULK_HEADER }
}

/// Runs both directions of one stream until the peer ends its direction.
async fn lane<P: Send + 'static>(
    shared: &Arc<Shared<P>>,
    conn: &Arc<Conn>,
    class: Class,
    send: SendStream,
    mut reader: FrameReader<RecvStream>,
) -> Result<(), CloseReason> {
    if conn.lanes_open[lane_index(class)].swap(true, Ordering::AcqRel) {
        return Err(CloseReason::StreamHeader(header_of(class)));
    }
    // Interactive frames leave first; ignoring the error is right, as the writer will meet it.
    let _ = send.set_priority(i32::from(class == Class::Interactive));
    let mut writer = JoinSet::new();
    let writing = conn.clone();
    writer.spawn(async move { write(&writing, class, send).await });
    let ended = read(shared, conn, class, &mut reader).await;
    if ended.is_ok() {
        // The peer is leaving: it gets what waits, and nothing new.
        conn.queue(class).close();
        writer.join_next().await;
    } else {
        writer.shutdown().await;
    }
    ended
}

/// Hands over what arrives until the peer ends its direction.
async fn read<P: Send + 'static>(
    shared: &Shared<P>,
    conn: &Conn,
    class: Class,
    reader: &mut FrameReader<RecvStream>,
) -> Result<(), CloseReason> {
    while let Some(frame) = reader.next().await? {
        conn.frame_seen.store(true, Ordering::Relaxed);
        shared.deliver(conn.id, class, frame).await?;
    }
    Ok(())
}

/// Writes what is queued; after the queue is closed, waits for the acknowledgement of all of it.
async fn write(conn: &Conn, class: Class, mut send: SendStream) {
    let queue = conn.queue(class);
    while let Some(frames) = queue.take().await {
        if let Err(error) = send.write_all_chunks(&mut lay_out(&frames)).await {
            conn.close(broken(error));
            return;
        }
    }
    if send.finish().is_ok() {
        let _ = send.stopped().await;
    }
    conn.drained[lane_index(class)].add_permits(1);
}

/// A stream breaks with its connection, or when the peer refuses to read it.
fn broken(error: WriteError) -> CloseReason {
    match error {
        WriteError::ConnectionLost(error) => error.into(),
        _ => CloseReason::StreamBroken,
    }
}

async fn datagrams<P: Send + 'static>(
    shared: &Arc<Shared<P>>,
    conn: &Conn,
) -> Result<(), CloseReason> {
    loop {
        let frame = conn.quinn.read_datagram().await?;
        conn.frame_seen.store(true, Ordering::Relaxed);
        shared.deliver_datagram(conn.id, frame.into());
    }
}
