//! Batches for whoever takes them: what is missing, late or new, and the position with it.

use matrix_sdk::Error;
use matrix_sdk_base::crypto::store::types::RoomKeyInfo;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tracing::debug;

use super::Sync;
use crate::matrix::bans::Banned;
use crate::matrix::catch_up::Page;
use crate::matrix::{Batch, MatrixError};
use crate::model::{Gap, MatrixEvent};

impl Sync<'_> {
    /// Hands over a page of what was missing, as far as what has happened since leaves something of it. What is given up is
    /// stored as no longer missing.
    pub(super) async fn take_missing(
        &mut self,
        gap: Gap,
        fetched: matrix_sdk::Result<Page>,
    ) -> Result<(), MatrixError> {
        let (Some(position), Some(room)) = (self.position.clone(), self.rooms.mapped(&gap.room))
        else {
            return Ok(());
        };
        let measured = async { Ok::<_, Error>((fetched?, Banned::of(&room).await?)) };
        let events = match measured.await {
            Ok((mut page, banned)) => {
                self.reader.note_clock(&page.events);
                let is_empty = page.events.is_empty();
                banned.silence(&mut page.events);
                let mut events = self.reader.read(&room, &page.events).await;
                banned.forget_lifted(&mut events);
                self.gaps.read(&gap, page.next, is_empty);
                events
            }
            Err(error) if self.gaps.failed(&gap, &error) => Vec::new(),
            Err(_) => return Ok(()),
        };
        self.hand_over(events, position).await
    }

    /// Hands over what waited for these keys; without keys, all that waited is tried.
    pub(super) async fn try_late(
        &mut self,
        keys: Option<Vec<RoomKeyInfo>>,
    ) -> Result<(), MatrixError> {
        if self.position.is_none() {
            return Ok(());
        }
        let events = self.reader.read_late(keys.as_deref()).await;
        self.tell(events).await
    }

    /// Tells what is new of the joined rooms, without waiting for the server.
    pub(super) async fn announce(&mut self) -> Result<(), MatrixError> {
        if self.position.is_none() {
            return Ok(());
        }
        let mut events = self.rooms.take_moved();
        for room in self.rooms.joined() {
            events.extend(self.rooms.news(&room).await.map(MatrixEvent::Joined));
        }
        self.tell(events).await
    }

    /// Hands over what does not change the position. Before the first answer of a first run there is none to hand over with.
    pub(super) async fn tell(&mut self, events: Vec<MatrixEvent>) -> Result<(), MatrixError> {
        match self.position.clone() {
            Some(position) if !events.is_empty() => self.hand_over(events, position).await,
            Some(_) | None => Ok(()),
        }
    }

    pub(super) async fn hand_over(
        &mut self,
        events: Vec<MatrixEvent>,
        position: String,
    ) -> Result<(), MatrixError> {
        let (batch, committed) = self.batch(events, position.clone());
        let sent = self.batches.send(batch).await;
        sent.map_err(|_| MatrixError::Closed)?;
        committed.await.map_err(|_| MatrixError::Closed)?;
        self.position = Some(position);
        self.reader.news.first_run = false;
        self.committed_at = Instant::now();
        Ok(())
    }

    /// At a clean stop, leaves the latest position with whoever still takes it: the next start is quicker then.
    pub(super) fn leave_position(&mut self) {
        let position = self.handed_over.take();
        if let Some(position) = position.filter(|it| self.position.as_ref() != Some(it)) {
            let (batch, _) = self.batch(Vec::new(), position);
            if self.batches.try_send(batch).is_err() {
                debug!("the last position is not stored");
            }
        }
    }

    fn batch(&self, events: Vec<MatrixEvent>, position: String) -> (Batch, oneshot::Receiver<()>) {
        let (committed, done) = oneshot::channel();
        let batch = Batch {
            events,
            position,
            gaps: self.gaps.all(),
            clock: self.reader.server.reading(),
            committed,
        };
        (batch, done)
    }
}
