//! How the link to the radio stands, for whoever wants to know now; what happened to it comes as events.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use super::error::Loss;
use relay_model::NodeNum;

/// What is being done about the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkState {
    /// The connection is being made.
    Connecting,
    /// Connected; the radio tells how it is set up.
    Configuring,
    /// Messages can cross.
    Ready,
    /// Lost, or never there; it is tried again soon.
    Lost,
}

/// How the link stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What is being done about it.
    pub state: LinkState,
    /// Who is at the other end has spoken as a radio does, since the connection was made.
    pub heard: bool,
    /// Since when it is ready, or since when it is not.
    pub since: Instant,
    /// Why it was lost last; `None` while it is ready.
    pub cause: Option<String>,
    /// What helps against just that, if we know.
    pub hint: Option<String>,
    /// How often the radio has started since we were ready first, as far as it counts that.
    pub restarts: u32,
}

#[derive(Debug)]
pub(super) struct LinkNotes {
    link: watch::Sender<Link>,
    /// The radio that was ready last, and its count of starts.
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

    /// Notes the next step towards a link.
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

    /// Takes a radio's own count of its starts; returns how often it has started since it was ready last.
    pub(super) fn started(&mut self, radio: NodeNum, count: u32) -> u32 {
        let before = self.starts.replace((radio, count));
        // With another radio, or without one, there is nothing to compare.
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
    use std::time::Duration;

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
