//! Connections: requests are read from them one after another, and answers sent as their delivery says.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::server::TlsStream;

use super::errors;
use super::http::{Accident, Answer, Framing, Request};
use super::log::Outcome;
use super::path::Origin;
use super::service::Service;

/// The largest request body that is taken, in bytes: a delete-batch of 1000 GUIDs has about 40 kB.
const LARGEST_REQUEST_BODY: usize = 256 * 1024;

/// How much is given to the socket at once, in bytes and in slices.
const BATCH: u64 = 1024 * 1024;
const SLICES: usize = 24;

/// A byte stream over TCP.
pub(super) trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    /// The connection below.
    fn tcp(&self) -> &TcpStream;
}

impl Transport for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Transport for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// How the sending of an answer ended.
#[derive(PartialEq, Eq)]
enum Ending {
    /// The connection can be used again.
    Whole,
    /// It ends here, in order.
    Close,
    /// It ends here with a reset.
    Reset,
    /// The client has gone.
    ClientLeft,
}

/// One connection to a client.
pub(super) struct Connection<S> {
    pub(super) stream: S,
    pub(super) service: Arc<Service>,
    pub(super) origin: Origin,
    pub(super) number: u64,
    /// What was read and not used yet.
    pub(super) buffer: BytesMut,
}

impl<S: Transport> Connection<S> {
    /// Serves the connection until either side ends it.
    pub(super) async fn serve(mut self) {
        loop {
            let request = match self.read_request().await {
                Ok(Some(request)) => request,
                Ok(None) => return,
                Err(_) => {
                    let head = errors::message(400, "Bad Request");
                    let releases = self.service.faults.releases();
                    let _ = self.send(0, &head, false, releases).await;
                    let _ = self.stream.shutdown().await;
                    return;
                }
            };
            // Taken before the request is seen in the log: whoever sees it there and releases it is heard.
            let releases = self.service.faults.releases();
            let (sequence, answer) = (self.service).answer(&request, self.origin, self.number);
            let ending = self
                .send(sequence, &answer, request.keep_alive, releases)
                .await
                .unwrap_or(Ending::ClientLeft);
            if ending == Ending::Reset {
                // With no time to linger, closing resets the connection and drops what is unsent.
                let _ = self.stream.tcp().set_zero_linger();
            }
            let outcome = match ending {
                Ending::ClientLeft => Outcome::ClientLeft,
                _ => Outcome::Sent,
            };
            drop(answer);
            (self.service.log).update(sequence, |entry| entry.outcome = outcome);
            match ending {
                Ending::Whole if request.keep_alive => {}
                Ending::Whole | Ending::Close => {
                    let _ = self.stream.shutdown().await;
                    return;
                }
                Ending::Reset | Ending::ClientLeft => return,
            }
        }
    }

    /// The next request; `None` if the client has ended the connection between two.
    async fn read_request(&mut self) -> io::Result<Option<Request>> {
        let bad = || io::Error::from(io::ErrorKind::InvalidData);
        let (mut request, length) = loop {
            match Request::parse(&self.buffer).map_err(|_| bad())? {
                Some(parsed) => break parsed,
                None => {
                    // A broken connection can't be answered either.
                    let read = self.stream.read_buf(&mut self.buffer).await;
                    if read.unwrap_or(0) == 0 {
                        return Ok(None);
                    }
                }
            }
        };
        self.buffer.advance(length);
        let body = request.body_length().map_err(|_| bad())?;
        if body > LARGEST_REQUEST_BODY {
            return Err(bad());
        }
        if body > self.buffer.len() && request.header("expect").is_some() {
            let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
            self.stream.write_all(go_on).await?;
        }
        while self.buffer.len() < body {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
        request.body = self.buffer.split_to(body).to_vec();
        Ok(Some(request))
    }

    async fn send(
        &mut self,
        sequence: u64,
        answer: &Answer,
        keep_alive: bool,
        mut releases: watch::Receiver<u64>,
    ) -> io::Result<Ending> {
        let delivery = &answer.delivery;
        if delivery.hold && !self.wait_for_release(&mut releases).await {
            return Ok(Ending::ClientLeft);
        }
        if !delivery.delay.is_zero() && !self.pause(delivery.delay).await {
            return Ok(Ending::ClientLeft);
        }
        if delivery.accident == Some(Accident::ResetBeforeHead) {
            return Ok(Ending::Reset);
        }
        (self.service.log).update(sequence, |entry| entry.status = Some(answer.status));
        let length = answer.body.length();
        let head = answer.head(length, keep_alive);
        let stop = match delivery.accident {
            Some(Accident::Reset(bytes) | Accident::Close(bytes) | Accident::Stall(bytes)) => {
                bytes.min(length)
            }
            _ => length,
        };
        let mut sender = BodySender::new(answer);
        sender.queue.push_back(Bytes::from(head));
        self.send_until(&mut sender, stop, sequence).await?;
        match delivery.accident {
            Some(Accident::Reset(_)) => {
                self.stream.flush().await?;
                return Ok(Ending::Reset);
            }
            Some(Accident::Close(_)) if stop < length => {
                self.stream.flush().await?;
                return Ok(Ending::Close);
            }
            Some(Accident::Stall(_)) if stop < length => {
                self.stream.flush().await?;
                if !self.wait_for_release(&mut releases).await {
                    return Ok(Ending::ClientLeft);
                }
                self.send_until(&mut sender, length, sequence).await?;
            }
            _ => {}
        }
        if delivery.framing == Framing::Chunked && !matches!(answer.status, 204 | 304) {
            sender.queue.push_back(Bytes::from_static(b"0\r\n\r\n"));
            self.write(&mut sender.queue).await?;
        }
        self.stream.flush().await?;
        Ok(match delivery.accident {
            Some(Accident::CloseAfter) => Ending::Close,
            _ => Ending::Whole,
        })
    }

    /// Sends what is queued and the body up to an offset within it.
    async fn send_until(
        &mut self,
        sender: &mut BodySender<'_>,
        stop: u64,
        sequence: u64,
    ) -> io::Result<()> {
        if sender.rate.is_some() {
            // The first byte comes at once, whatever the rate.
            self.write(&mut sender.queue).await?;
        }
        loop {
            let queued = sender.fill(stop);
            if let Some(due) = sender.due()
                && queued > 0
            {
                self.stream.flush().await?;
                let wait = due.saturating_duration_since(Instant::now());
                if !wait.is_zero() && !self.pause(wait).await {
                    return Err(io::ErrorKind::ConnectionAborted.into());
                }
            }
            self.write(&mut sender.queue).await?;
            if queued == 0 {
                return Ok(());
            }
            (self.service.log).update(sequence, |entry| entry.bytes_sent += queued);
        }
    }

    async fn write(&mut self, queue: &mut VecDeque<Bytes>) -> io::Result<()> {
        while !queue.is_empty() {
            let slices: Vec<IoSlice<'_>> = queue.iter().map(|bytes| IoSlice::new(bytes)).collect();
            let mut written = self.stream.write_vectored(&slices).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            while let Some(first) = queue.front_mut() {
                let taken = written.min(first.len());
                first.advance(taken);
                written -= taken;
                if !first.is_empty() {
                    break;
                }
                queue.pop_front();
            }
        }
        Ok(())
    }

    /// Waits; `false` if the client leaves meanwhile.
    async fn pause(&mut self, duration: Duration) -> bool {
        tokio::select! {
            () = tokio::time::sleep(duration) => true,
            () = left(&mut self.stream, &mut self.buffer) => false,
        }
    }

    /// Waits for a release; `false` if the client leaves meanwhile.
    async fn wait_for_release(&mut self, releases: &mut watch::Receiver<u64>) -> bool {
        tokio::select! {
            released = releases.changed() => released.is_ok(),
            () = left(&mut self.stream, &mut self.buffer) => false,
        }
    }
}

/// Ends when the client closes the connection; keeps what it sends before.
async fn left(stream: &mut (impl AsyncRead + Unpin), buffer: &mut BytesMut) {
    while buffer.len() < LARGEST_REQUEST_BODY {
        if stream.read_buf(buffer).await.unwrap_or(0) == 0 {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// Cuts a body into slices, framed and in time.
struct BodySender<'a> {
    answer: &'a Answer,
    queue: VecDeque<Bytes>,
    /// Body bytes queued so far.
    sent: u64,
    started: Instant,
    rate: Option<u64>,
}

impl<'a> BodySender<'a> {
    fn new(answer: &'a Answer) -> Self {
        Self {
            answer,
            queue: VecDeque::with_capacity(SLICES + 3),
            sent: 0,
            started: Instant::now(),
            rate: answer.delivery.rate.map(|rate| rate.max(1)),
        }
    }

    /// Queues the next bytes before `stop`; how many.
    fn fill(&mut self, stop: u64) -> u64 {
        let batch = match self.rate {
            // 50 steps a second are smooth enough.
            Some(rate) => (rate / 50).clamp(1, 64 * 1024),
            None => BATCH,
        };
        let body = &self.answer.body;
        let goal = stop.min(self.sent.saturating_add(batch));
        let chunked = self.answer.delivery.framing == Framing::Chunked;
        let before = self.sent;
        let mut slices = Vec::with_capacity(SLICES);
        while self.sent < goal && slices.len() < SLICES {
            let run = body.source.run(body.start + self.sent..body.start + goal);
            if run.is_empty() {
                break;
            }
            self.sent += run.len() as u64;
            slices.push(run);
        }
        let queued = self.sent - before;
        if chunked && queued > 0 {
            self.queue.push_back(Bytes::from(format!("{queued:x}\r\n")));
        }
        self.queue.extend(slices);
        if chunked && queued > 0 {
            self.queue.push_back(Bytes::from_static(b"\r\n"));
        }
        queued
    }

    /// When what is queued may be sent.
    fn due(&self) -> Option<Instant> {
        let rate = self.rate?;
        Some(self.started + Duration::from_secs_f64(self.sent as f64 / rate as f64))
    }
}
