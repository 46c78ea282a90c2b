//! The task of one flight: asks, checks the answer, cuts the body into blocks, publishes each at once.
//!
//! A task of its own, so that no reader's departure can strand another. It runs no further ahead than
//! [`pace::allowance`] lets it, resumes a body that broke off at its last good byte, and publishes nothing of an
//! answer before it is known to be of the object's version.

mod answer;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use tokio::sync::Notify;
use tokio::time::Instant;

use self::answer::{Head, Reception};
use super::block::{self, BLOCK};
use super::flight::Delivery;
use super::pace::{self, Allowance, Meter};
use super::plan::{self, Fetch, Kind};
use super::shared::Landing;
use super::spare::Buffer;
use super::version_check::Difference;
use super::{ContentError, Object};
use crate::executor;
use crate::remote::{Class, ContentAnswer, ContentRequest, RemoteError, RetryBudget, Terms};

/// How long a far seek's request waits for the rest of a burst of READs.
const BURST: Duration = Duration::from_millis(1);

/// So many bytes more than a file should have are counted, to learn how many it has.
const LARGEST_EXCESS: u64 = 64 << 20;

/// So many good bytes renew the retries.
const PROGRESS: u64 = 1 << 20;

/// Starts the task of a flight that was just entered in the object's state.
pub(super) fn spawn(object: Arc<Object>, number: u64, changed: Arc<Notify>, terms: Terms) {
    let shared = Arc::clone(&object.shared);
    let in_flight = shared.flight_begins();
    shared.spawn(async move {
        let landing = Landing::new(Arc::clone(&object), number, terms.deadline, in_flight);
        let partial = object.shared.spare.lend();
        let task = Task {
            object,
            number,
            changed,
            terms,
            partial,
            good: 0,
            furthest: 0,
            is_endless: false,
            meter: Meter::default(),
            has_split: false,
            other_size: None,
            lengths: 0,
        };
        landing.land(task.fly().await);
    });
}

struct Task {
    object: Arc<Object>,
    number: u64,
    changed: Arc<Notify>,
    terms: Terms,
    /// The beginning of the block at the flight's position.
    partial: Buffer,
    /// Good bytes since the retries were last renewed.
    good: u64,
    /// Behind the last byte that came: what comes again is no progress.
    furthest: u64,
    /// The body runs on until it ends, wherever that is: no length was given.
    is_endless: bool,
    meter: Meter,
    has_split: bool,
    /// A length other than the one known, and how many answers running have spoken of it. Not the object's: answers that lie
    /// alike may be long apart, and true ones between them.
    other_size: Option<(u64, u32)>,
    /// How many such lengths there were since an answer was accepted.
    lengths: u32,
}

impl Task {
    async fn fly(mut self) -> Result<(), ContentError> {
        self.wait_for_burst().await;
        let mut resumes = false;
        loop {
            let Some(request) = self.request() else {
                return Ok(());
            };
            if self.terms.deadline < Instant::now() + Duration::from_secs(5) && self.runs_ahead() {
                self.terms.deadline = Instant::now() + Duration::from_secs(60);
            }
            let object = Arc::clone(&self.object);
            let answer = tokio::select! {
                answer = object.shared.remote.content(request.clone(), self.terms.clone()) => answer,
                () = self.cancelled() => return Ok(()),
            };
            object.shared.counters.request();
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => match self.refused(error).await? {
                    ControlFlow::Continue(()) => continue,
                    ControlFlow::Break(()) => return Ok(()),
                },
            };
            let head = Head {
                start: answer.start,
                total: answer.total,
                validator: answer.validator.clone(),
            };
            match self.accept(request.start, &head, resumes).await? {
                Reception::Accepted => {}
                Reception::Doubted => continue,
                Reception::Useless(why) => {
                    self.pause_before_retry(RemoteError::Protocol(why)).await?;
                    continue;
                }
            }
            match self.body(answer).await? {
                ControlFlow::Continue(()) => resumes = true,
                ControlFlow::Break(()) => return Ok(()),
            }
        }
    }

    /// A far seek's request waits a moment, and grows with the READs that arrive meanwhile: the kernel
    /// sends one large read as up to eight.
    async fn wait_for_burst(&self) {
        let grows = {
            let mut state = self.object.lock();
            let is_large = state.size.is_some_and(|size| size > plan::WHOLE);
            state
                .flight(self.number)
                .is_some_and(|flight| is_large && flight.kind == Kind::Bounded && flight.begin > 0)
        };
        if grows {
            tokio::time::sleep(BURST).await;
        }
    }

    fn runs_ahead(&self) -> bool {
        let mut state = self.object.lock();
        state
            .flight(self.number)
            .is_some_and(|flight| flight.kind != Kind::Bounded)
    }

    /// The next request; `None` when the flight is at its end.
    fn request(&self) -> Option<ContentRequest> {
        let mut state = self.object.lock();
        let size = state.size;
        let validator = state.pinned.condition(&self.object.shared.etag_trust);
        let flight = state.flight(self.number)?;
        if flight.position >= flight.end {
            return None;
        }
        flight.is_sent = true;
        let urgency = flight.urgency.clone();
        let is_to_the_end = flight.end == u64::MAX || size.is_some_and(|size| flight.end >= size);
        Some(ContentRequest {
            guid: self.object.id.guid,
            key: self.object.id.key.clone(),
            start: flight.position,
            end: (!is_to_the_end).then_some(flight.end),
            validator,
            urgency,
        })
    }

    async fn cancelled(&self) {
        loop {
            {
                let mut state = self.object.lock();
                if state
                    .flight(self.number)
                    .is_none_or(|flight| flight.position >= flight.end)
                {
                    return;
                }
            }
            self.changed.notified().await;
        }
    }

    /// Publishes the body. `Continue`: another request is needed for the rest; `Break`: done or dropped.
    async fn body(&mut self, answer: ContentAnswer) -> Result<ControlFlow<()>, ContentError> {
        let mut body = answer.body;
        let mut at = answer.start;
        // Resumed in mid-block, it continues the partial block; from the file's beginning, it starts over. What was held
        // back comes again.
        self.partial.truncate((at % BLOCK) as usize);
        if at % BLOCK != self.partial.len() as u64 {
            self.partial.clear();
        }
        self.is_endless = answer.end.is_none() && answer.total.is_none();
        let mut brought = 0_u64;
        loop {
            if self.wait_for_allowance().await.is_break() {
                if answer.end == Some(at) {
                    // Lets the connection be used again.
                    let _ = tokio::time::timeout(BURST, body.next()).await;
                }
                return Ok(ControlFlow::Break(()));
            }
            let is_starved = self.reader_waits();
            let asked = Instant::now();
            let chunk = tokio::select! {
                chunk = body.next() => chunk,
                () = self.cancelled() => return Ok(ControlFlow::Break(())),
            };
            if brought > 0 {
                self.meter.note(asked.elapsed(), is_starved);
            }
            match chunk {
                Some(Ok(bytes)) => {
                    let length = bytes.len() as u64;
                    if brought > 0 {
                        self.meter.bytes += length;
                    }
                    brought += length;
                    at += length;
                    self.object.shared.counters.wire(length);
                    self.feed(bytes, at).await?;
                    self.renew_retries();
                    self.consider_split();
                }
                Some(Err(error)) => {
                    self.pause_before_retry(error).await?;
                    return Ok(ControlFlow::Continue(()));
                }
                None => return self.ended(at, brought, answer.end, answer.total).await,
            }
        }
    }

    fn whereabouts(&self) -> (u64, u64) {
        let mut state = self.object.lock();
        state
            .flight(self.number)
            .map_or((0, 0), |flight| (flight.position, flight.end))
    }

    /// The body ended as promised.
    async fn ended(
        &mut self,
        at: u64,
        brought: u64,
        promised: Option<u64>,
        total: Option<u64>,
    ) -> Result<ControlFlow<()>, ContentError> {
        if promised.is_none() && total.is_none() {
            // Without any length, the end of the body is the end of the file.
            let size = self.object.lock().size;
            match size {
                None => {
                    self.object.learn(at);
                    self.write_what_came_before_the_size(at).await;
                }
                Some(size) if size != at => {
                    self.settle(Difference::of_length(), Some(at)).await?;
                }
                Some(size) => {
                    self.other_size = None;
                    self.lengths = 0;
                    let (position, _) = self.whereabouts();
                    if position < size {
                        // It was held back.
                        let block = self.take_partial();
                        let last = block::index_of(size - 1);
                        self.publish(last, block, Some(size)).await;
                    }
                }
            }
        }
        self.publish_tail().await;
        let (position, end) = self.whereabouts();
        if position >= end {
            return Ok(ControlFlow::Break(()));
        }
        if brought == 0 {
            self.pause_before_retry(RemoteError::Interrupted).await?;
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Cuts bytes into blocks, with one copy, and publishes each that is complete. `end` is the place behind them.
    async fn feed(&mut self, mut bytes: Bytes, end: u64) -> Result<(), ContentError> {
        while !bytes.is_empty() {
            let room = BLOCK as usize - self.partial.len();
            let piece = bytes.split_to(room.min(bytes.len()));
            self.partial.extend(&piece);
            let (index, cut, is_complete) = {
                let mut state = self.object.lock();
                let cut = state.size;
                let size = cut.unwrap_or(u64::MAX);
                let Some(flight) = state.flight(self.number) else {
                    return Ok(());
                };
                let index = block::index_of(flight.position);
                let length = self.partial.len() as u64;
                let position = block::start_of(index) + length;
                if self.is_endless && position >= size && end.saturating_sub(size) <= LARGEST_EXCESS
                {
                    // Whether the file ends where it should shows when the body does: the last block is held back.
                    return Ok(());
                }
                if flight.position >= size {
                    return Err(RemoteError::Protocol("more bytes than the file has").into());
                }
                let is_complete = position >= block::end_of(index, size);
                if !is_complete {
                    flight.position = position;
                    state.tell_early(index, position, self.partial.as_slice());
                }
                (index, cut, is_complete)
            };
            if is_complete {
                let block = self.take_partial();
                if !self.publish(index, block, cut).await {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn take_partial(&mut self) -> Bytes {
        let next = self.object.shared.spare.lend();
        std::mem::replace(&mut self.partial, next).freeze()
    }

    /// Publishes the last block of a file whose size was learnt only when its body ended.
    async fn publish_tail(&mut self) {
        let size = self.object.lock().size;
        let (position, _) = self.whereabouts();
        if size == Some(position) && self.partial.len() > 0 {
            let block = self.take_partial();
            let last = block::index_of(position - 1);
            self.publish(last, block, size).await;
        }
    }

    /// Hands the disk the blocks that came while it couldn't be told how large the file is.
    async fn write_what_came_before_the_size(&self, size: u64) {
        let object = &self.object;
        let Some(entry) = object.entry() else { return };
        let (validator, generation) = {
            let state = object.lock();
            if state.size != Some(size) {
                return;
            }
            (state.pinned.validator().clone(), entry.generation())
        };
        for index in 0..size / BLOCK {
            if let Some(bytes) = object.shared.memory.get(object.place, index)
                && let Some(permit) = entry.permit().await
            {
                entry.enqueue(index, bytes, size, &validator, generation, permit);
            }
        }
    }

    /// Makes a block known, which was cut for a file of the size `cut`: to the disk's queue, the memory tier and whoever waits
    /// for it. Returns whether it did: not if the version is stale, or of another size, meanwhile; then the flight is over.
    async fn publish(&self, index: u64, bytes: Bytes, cut: Option<u64>) -> bool {
        let object = &self.object;
        let (validator, generation) = {
            let state = object.lock();
            if state.size != cut {
                return false;
            }
            let generation = object.entry().map_or(0, |entry| entry.generation());
            (state.pinned.validator().clone(), generation)
        };
        let disk = object.entry().filter(|entry| !entry.contains(index, true));
        let mut permit = disk.and_then(|entry| entry.try_permit());
        let write = |permit| {
            if let (Some(entry), Some(size)) = (disk, cut) {
                entry.enqueue(index, bytes.clone(), size, &validator, generation, permit);
            }
        };
        let had_permit = permit.is_some();
        if let Some(permit) = permit.take() {
            write(permit);
        }
        let tell = || {
            // Together, so that a version found stale, or of another size, meanwhile isn't added to.
            let mut state = object.lock();
            if state.is_stale || state.size != cut {
                return false;
            }
            object
                .shared
                .memory
                .insert(object.place, index, bytes.clone());
            // Only now: a reader that looked in between would find it neither coming nor here, and ask for it.
            if let Some(flight) = state.flight(self.number) {
                flight.position = block::start_of(index) + bytes.len() as u64;
            }
            state.tell(index, &Delivery::Block(bytes.clone()));
            true
        };
        // Where other flights keep the other processors busy, whoever waits for the block is answered here and now, while it
        // is still in this one's cache. A flight that is alone goes on, and another thread answers.
        let is_kept = if object.shared.flights() > 1 {
            executor::waking(tell)
        } else {
            tell()
        };
        if is_kept
            && !had_permit
            && let Some(entry) = disk
            && let Some(permit) = entry.permit().await
        {
            write(permit);
        }
        is_kept
    }

    fn reader_waits(&self) -> bool {
        let (position, end) = self.whereabouts();
        self.object.lock().is_awaited(position, end)
    }

    fn renew_retries(&mut self) {
        let (position, _) = self.whereabouts();
        self.good += position.saturating_sub(self.furthest);
        self.furthest = self.furthest.max(position);
        if self.good >= PROGRESS {
            self.good = 0;
            self.terms.retries = RetryBudget::standard();
        }
    }

    async fn pause_before_retry(&self, error: RemoteError) -> Result<(), ContentError> {
        let delay = self.terms.retries.take().ok_or(error)?;
        if Instant::now() + delay >= self.terms.deadline {
            return Err(ContentError::DeadlinePassed);
        }
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = self.cancelled() => {}
        }
        Ok(())
    }

    /// Waits until the flight may bring more. `Break` when it shall end.
    async fn wait_for_allowance(&mut self) -> ControlFlow<()> {
        let began = Instant::now();
        loop {
            let paused = began.elapsed();
            {
                let mut state = self.object.lock();
                let open_ahead = self.object.shared.capacity_ahead();
                let has_disk = self.object.shared.has_working_disk();
                match pace::allowance(&state, self.number, open_ahead, has_disk) {
                    Allowance::Go => {
                        if let Some(flight) = state.flight(self.number) {
                            flight.is_paused = false;
                        }
                        return ControlFlow::Continue(());
                    }
                    Allowance::Done => return ControlFlow::Break(()),
                    Allowance::Unwanted if paused >= pace::GRACE => return ControlFlow::Break(()),
                    Allowance::Pause if paused >= pace::LONGEST_PAUSE => {
                        return ControlFlow::Break(());
                    }
                    Allowance::Pause | Allowance::Unwanted => {}
                }
                if let Some(flight) = state.flight(self.number) {
                    flight.is_paused = true;
                    flight.reader_is_slow |= paused >= pace::SLOW_AFTER;
                }
            }
            // Looked at anew now and then, because a pause has an end of its own.
            let _ = tokio::time::timeout(pace::SLOW_AFTER, self.changed.notified()).await;
        }
    }

    /// Splits a stream whose reader starves because its connection is slow.
    fn consider_split(&mut self) {
        if self.meter.bytes < pace::MEASURED_BYTES {
            return;
        }
        let rate = self.meter.rate();
        self.object.shared.note_rate(rate);
        let starves = self.meter.starved * 2 >= self.meter.time;
        if self.has_split || self.meter.time < pace::MEASURED_TIME || !starves || rate >= plan::SLOW
        {
            return;
        }
        let shared = &self.object.shared;
        let conditions = shared.remote.conditions();
        let mut state = self.object.lock();
        let Some(flight) = state.flight(self.number) else {
            return;
        };
        if flight.kind != Kind::Stream {
            return;
        }
        let parts = plan::split(
            flight.position,
            flight.end,
            rate,
            &conditions,
            shared.keeps(),
        );
        if parts.is_empty() {
            return;
        }
        self.has_split = true;
        for part in parts {
            let fetch = Fetch {
                start: part.start,
                end: part.end,
                kind: Kind::Rest,
            };
            let terms = Terms {
                class: Class::Reader,
                deadline: Instant::now() + Duration::from_secs(60),
                retries: RetryBudget::standard(),
            };
            self.object.launch(&mut state, fetch, terms);
        }
        state.tell_orphans(&Delivery::Again);
    }
}
