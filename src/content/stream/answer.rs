//! What an answer's head, or an error in its place, means for the flight and its object.
//!
//! The promise: nothing of an answer is published before it is known to be of the object's version.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::Task;
use crate::content::version_check::{Difference, Verdict};
use crate::content::{ContentError, plan};
use crate::remote::{RemoteError, Validator};

/// The most bytes that are read and thrown away because a server ignores ranges.
const LARGEST_DISCARD: u64 = 64 << 20;

/// Whatever gives an empty answer by mistake may well do so twice running: that is never believed of a version that, by its
/// metadata, is the same and was not empty.
const EMPTY: &str = "an empty answer for a file that has bytes";

/// What so many answers running say of a file's length is true, whatever the metadata says. Among mixed faults of one in
/// twenty, two that agree were met once in some ten thousand requests.
const BELIEVED: u32 = 3;

/// So many lengths, none of them the one known, are asked about again: each costs a reading of the metadata.
const MOST_LENGTHS: u32 = 3;

const CHANGING: &str = "the file's length changes from answer to answer";

/// What an answer's head says.
pub(super) struct Head {
    pub(super) start: u64,
    pub(super) total: Option<u64>,
    pub(super) validator: Validator,
}

/// What becomes of an answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Reception {
    /// Its bytes are the version's.
    Accepted,
    /// It can't be used, for this reason: ask again.
    Useless(&'static str),
    /// It says that the file has another length than it should have: ask again at once, to hear it again.
    Doubted,
}

impl Task {
    /// What an error instead of an answer means.
    pub(super) async fn refused(
        &mut self,
        error: RemoteError,
    ) -> Result<ControlFlow<()>, ContentError> {
        match error {
            RemoteError::Gone => {
                self.object.become_stale();
                self.object.shared.discoveries.gone(&self.object.id);
                Err(ContentError::Stale)
            }
            RemoteError::PastEnd { total: Some(total) } => {
                let differs = Difference::of_length();
                if self.object.lock().size == Some(total) {
                    return Err(RemoteError::Protocol("416 to a range within the file").into());
                }
                if self.object.lock().size.is_none() {
                    self.object.learn(total);
                } else {
                    match self.settle(differs, Some(total)).await? {
                        Verdict::Doubted => return Ok(ControlFlow::Continue(())),
                        Verdict::Refuted => {
                            self.pause_before_retry(RemoteError::Protocol(EMPTY))
                                .await?;
                            return Ok(ControlFlow::Continue(()));
                        }
                        _ => {}
                    }
                }
                Ok(ControlFlow::Break(()))
            }
            other => Err(other.into()),
        }
    }

    /// Whether the answer is of this version; adapts the object to what it teaches.
    /// `resumes`: it continues an answer that broke off.
    pub(super) async fn accept(
        &mut self,
        asked: u64,
        answer: &Head,
        resumes: bool,
    ) -> Result<Reception, ContentError> {
        if answer.start > asked || asked - answer.start > LARGEST_DISCARD {
            return Err(RemoteError::Protocol("the range was ignored").into());
        }
        if self.joins_unseen(asked, answer, resumes) {
            self.settle(Difference::default(), answer.total).await?;
        }
        loop {
            let difference = {
                let mut state = self.object.lock();
                if state.is_stale {
                    return Err(ContentError::Stale);
                }
                let size = state.size;
                let difference = state.pinned.compare(&answer.validator, answer.total, size);
                if difference.is_none() {
                    if answer.total.is_some() {
                        self.other_size = None;
                        self.lengths = 0;
                    }
                    state.pinned.pin(&answer.validator);
                    if let Some(flight) = state.flight(self.number) {
                        // Ignored ranges: what came before the wanted bytes is as good as any.
                        if answer.start < flight.position {
                            flight.position = answer.start;
                            flight.begin = flight.begin.min(answer.start);
                        }
                    }
                    drop(state);
                    if let (None, Some(total)) = (size, answer.total) {
                        self.object.learn(total);
                    }
                    return Ok(Reception::Accepted);
                }
                difference
            };
            match self.settle(difference, answer.total).await? {
                Verdict::Doubted => return Ok(Reception::Doubted),
                Verdict::Refuted => return Ok(Reception::Useless(EMPTY)),
                // The changed validator made the server send all: ask again without it.
                Verdict::Same if answer.start < asked => {
                    return Ok(Reception::Useless("its version changes with every answer"));
                }
                _ => {}
            }
        }
    }

    /// Whether the answer is put together with bytes of another one, and nothing but the metadata tells whether both
    /// are of one version: it continues a broken answer, or a small file of which a part is held. Seeks in large
    /// files are left to the length, because asking would double their requests.
    fn joins_unseen(&self, asked: u64, answer: &Head, resumes: bool) -> bool {
        let state = self.object.lock();
        let is_small = state.size.is_some_and(|size| size <= plan::WHOLE);
        (resumes || is_small && asked > 0) && !state.pinned.vouches_for(&answer.validator)
    }

    /// Reads the metadata again, once for all flights that are in doubt, and adapts the object to it.
    pub(super) async fn settle(
        &mut self,
        difference: Difference,
        total: Option<u64>,
    ) -> Result<Verdict, ContentError> {
        if difference == Difference::of_length()
            && total.is_some_and(|total| self.says_again(total))
        {
            return Ok(Verdict::Doubted);
        }
        let object = Arc::clone(&self.object);
        let _one_at_a_time = object.settling.lock().await;
        {
            let state = object.lock();
            if state.is_stale {
                return Err(ContentError::Stale);
            }
            // Another flight has settled it meanwhile.
            if difference == Difference::of_length() && total.is_some() && state.size == total {
                return Ok(Verdict::Resized);
            }
        }
        let shared = &object.shared;
        let read = shared
            .remote
            .interaction(object.id.guid, self.terms.clone())
            .await;
        let verdict = match read {
            Ok(interaction) => {
                let verdict = object.lock().pinned.judge(
                    &object.id,
                    &interaction,
                    difference,
                    &shared.etag_trust,
                );
                shared.discoveries.observed(interaction);
                verdict
            }
            Err(RemoteError::Gone) => {
                object.become_stale();
                shared.discoveries.gone(&object.id);
                return Err(ContentError::Stale);
            }
            Err(error) => return Err(error.into()),
        };
        match (verdict, total) {
            (Verdict::Replaced, _) => {
                object.become_stale();
                Err(ContentError::Stale)
            }
            (Verdict::Overwritten, _) => {
                object.become_overwritten();
                Err(ContentError::Stale)
            }
            (Verdict::Resized, Some(0)) => Ok(Verdict::Refuted),
            (Verdict::Resized, Some(total)) if self.doubts(total) => {
                self.lengths += 1;
                if self.lengths > MOST_LENGTHS {
                    return Err(RemoteError::Protocol(CHANGING).into());
                }
                Ok(Verdict::Doubted)
            }
            (Verdict::Resized, Some(total)) => {
                object.resize(total, self.number);
                Ok(Verdict::Resized)
            }
            (verdict, _) => Ok(verdict),
        }
    }

    /// Whether a length differs from the one known and too few have said so: an answer that was cut short on the way, or has
    /// something behind its end, looks the same, and two running may.
    fn doubts(&mut self, total: u64) -> bool {
        let known = self.object.lock().size;
        if known.is_none_or(|size| total == size) {
            return false;
        }
        let times = self.times(total) + 1;
        self.other_size = Some((total, times));
        times < BELIEVED
    }

    /// Whether a length is said again, though not often enough to be believed: the metadata was read when it was said first,
    /// and will be when it is believed.
    fn says_again(&mut self, total: u64) -> bool {
        let before = self.times(total);
        before > 0 && before + 1 < BELIEVED && self.doubts(total)
    }

    /// How many answers running have spoken of this length, which is not the one known.
    fn times(&self, total: u64) -> u32 {
        match self.other_size {
            Some((size, times)) if size == total => times,
            _ => 0,
        }
    }
}
