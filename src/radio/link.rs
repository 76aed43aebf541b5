//! How the link to the radio stands, for whoever wants to know now; what happened to it comes as events.

use tokio::sync::watch;
use tokio::time::Instant;

/// What is being done about the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
    /// Since when it is ready, or since when it is not.
    pub since: Instant,
    /// Why it was lost last; `None` while it is ready.
    pub cause: Option<String>,
}

/// Notes how the link stands.
#[derive(Debug)]
pub(super) struct LinkNotes(watch::Sender<Link>);

impl Default for LinkNotes {
    fn default() -> Self {
        Self(watch::Sender::new(Link {
            state: LinkState::Connecting,
            since: Instant::now(),
            cause: None,
        }))
    }
}

impl LinkNotes {
    /// Returns where to look.
    pub(super) fn watch(&self) -> watch::Receiver<Link> {
        self.0.subscribe()
    }

    /// Notes the next step towards a link.
    pub(super) fn step(&self, state: LinkState) {
        self.0.send_modify(|link| {
            let is_ready = state == LinkState::Ready;
            if is_ready != (link.state == LinkState::Ready) {
                link.since = Instant::now();
            }
            if is_ready {
                link.cause = None;
            }
            link.state = state;
        });
    }

    /// Notes that the link is lost, and why.
    pub(super) fn lost(&self, cause: &str) {
        self.step(LinkState::Lost);
        self.0
            .send_modify(|link| link.cause = Some(cause.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_time_away_counts_from_the_loss_however_often_it_is_tried_again() {
        let notes = LinkNotes::default();
        let link = notes.watch();
        notes.step(LinkState::Configuring);
        notes.step(LinkState::Ready);
        tokio::time::advance(Duration::from_secs(5)).await;
        notes.lost("closed");
        let since = Instant::now();
        for _ in 0..3 {
            tokio::time::advance(Duration::from_secs(5)).await;
            notes.step(LinkState::Connecting);
            notes.step(LinkState::Configuring);
            assert!(link.borrow().cause.is_some());
            notes.lost("refused");
        }
        let away = link.borrow().clone();
        assert_eq!((away.state, away.since), (LinkState::Lost, since));
        assert_eq!(away.cause.as_deref(), Some("refused"));
        notes.step(LinkState::Ready);
        assert_eq!(link.borrow().since, Instant::now());
        assert_eq!(link.borrow().cause, None);
    }
}
