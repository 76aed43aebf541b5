//! The current state of the link, for observers; changes are sent as events.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use super::error::Loss;
use relay_model::NodeNum;

/// How far the link to the radio has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// The wire is being opened.
    Connecting,
    /// Connected; the radio is sending its configuration.
    Configuring,
    /// The configuration is complete: messages can cross.
    Ready,
    /// Lost, or never made; the next attempt follows.
    Lost,
}

/// The state of the link as observers see it: `status`, `doctor` and the commands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// How far the link has come.
    pub state: LinkState,
    /// Whether a valid frame has arrived on this connection.
    pub heard: bool,
    /// Since when the link is ready, or since when it is not.
    pub since: Instant,
    /// Why it was last lost; `None` while it is ready.
    pub cause: Option<String>,
    /// What a person can do about that cause; `None` if nothing is known to help, or while it is ready.
    pub hint: Option<String>,
    /// Restarts of the radio since the link was first ready, as far as the radio counts them.
    pub restarts: u32,
}

/// The writing side of [`Link`], kept by the driver.
#[derive(Debug)]
pub(super) struct LinkNotes {
    link: watch::Sender<Link>,
    /// The radio that was last ready, and its reboot count.
    starts: Option<(NodeNum, u32)>,
}

impl Default for LinkNotes {
    fn default() -> Self {
        Self {
            link: watch::Sender::new(Link {
                state: LinkState::Connecting,
                heard: false,
                since: Instant::now(),
                cause: None,
                hint: None,
                restarts: 0,
            }),
            starts: None,
        }
    }
}

impl LinkNotes {
    pub(super) fn watch(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    pub(super) fn step(&self, state: LinkState) {
        self.link.send_modify(|link| {
            let is_ready = state == LinkState::Ready;
            if is_ready != (link.state == LinkState::Ready) {
                link.since = Instant::now();
            }
            if is_ready {
                (link.cause, link.hint) = (None, None);
            } else {
                link.heard = false;
            }
            link.state = state;
        });
    }

    /// Returns for how long there has been no link that is ready.
    pub(super) fn away_for(&self) -> Duration {
        let link = self.link.borrow();
        match link.state {
            LinkState::Ready => Duration::ZERO,
            LinkState::Connecting | LinkState::Configuring | LinkState::Lost => {
                link.since.elapsed()
            }
        }
    }

    pub(super) fn heard(&self) {
        self.link
            .send_if_modified(|link| !std::mem::replace(&mut link.heard, true));
    }

    pub(super) fn lost(&self, loss: &Loss) {
        self.step(LinkState::Lost);
        self.link.send_modify(|link| {
            link.cause = Some(loss.cause.clone());
            link.hint.clone_from(&loss.hint);
        });
    }

    /// Takes the radio's reboot count; returns how many restarts it has had since it was last ready.
    pub(super) fn started(&mut self, radio: NodeNum, count: u32) -> u32 {
        let before = self.starts.replace((radio, count));
        // A count of another radio cannot be compared.
        let before = before.filter(|(known, _)| *known == radio);
        let rise = before.map_or(0, |(_, before)| count.saturating_sub(before));
        self.link.send_if_modified(|link| {
            link.restarts = link.restarts.saturating_add(rise);
            rise > 0
        });
        rise
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn starts_are_counted_by_the_radio_itself_and_of_one_radio_at_a_time() {
        let mut notes = LinkNotes::default();
        let link = notes.watch();
        let (one, other) = (NodeNum(5), NodeNum(6));
        assert_eq!(notes.started(one, 7), 0);
        assert_eq!(notes.started(one, 7), 0);
        assert_eq!(notes.started(one, 9), 2);
        assert_eq!(notes.started(other, 30), 0, "another radio");
        assert_eq!(notes.started(other, 3), 0, "its memory was erased");
        assert_eq!(notes.started(other, 4), 1);
        assert_eq!(link.borrow().restarts, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_away_counts_from_the_loss_however_often_it_is_tried_again() {
        let notes = LinkNotes::default();
        let link = notes.watch();
        notes.step(LinkState::Configuring);
        notes.step(LinkState::Ready);
        tokio::time::advance(Duration::from_secs(5)).await;
        notes.lost(&Loss::of_silence("closed", true));
        let since = Instant::now();
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(5)).await;
            notes.step(LinkState::Connecting);
            notes.step(LinkState::Configuring);
            assert!(link.borrow().cause.is_some());
            notes.lost(&Loss::of_silence("refused", true));
        }
        let away = link.borrow().clone();
        assert_eq!((away.state, away.since), (LinkState::Lost, since));
        assert_eq!(away.cause.as_deref(), Some("refused"));
        notes.step(LinkState::Ready);
        assert_eq!(link.borrow().since, Instant::now());
        assert_eq!(link.borrow().cause, None);
    }
}
