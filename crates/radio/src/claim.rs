//! The claim on the radio: that no other relay on this computer uses it, and who does if one does.

use std::time::Duration;

use tokio::time::sleep;

use relay_claims::{Claim, Claimant, Holder, Thing};

/// How often it is looked whether another relay has let go of the radio.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long a radio without a link stays this relay's: one that restarts comes back to it. Later each attempt holds it by
/// itself, so that another relay has it that reaches it.
pub(crate) const KEPT_FOR: Duration = Duration::from_mins(5);

/// What another relay's hold on the radio lets a person do.
pub(crate) const HELD_HINT: &str = "stop that relay, or use another radio; a relay that waits for it takes it over by itself when that one lets go of it";

/// What is claimed for the radio. It outlives the link by [`KEPT_FOR`].
#[derive(Debug, Default)]
pub(crate) struct RadioClaim {
    /// `None`: nothing is claimed, as for a radio in a test.
    claimant: Option<Claimant>,
    held: Option<(Thing, Claim)>,
    /// What another relay holds.
    missed: Option<Thing>,
}

impl RadioClaim {
    pub(crate) fn new(claimant: Option<Claimant>) -> Self {
        Self {
            claimant,
            ..Self::default()
        }
    }

    /// Claims the radio, in place of what was claimed before; or tells who holds it.
    pub(crate) fn take(&mut self, thing: Thing) -> Result<(), Holder> {
        self.missed = None;
        let Some(claimant) = &self.claimant else {
            return Ok(());
        };
        if self.held.as_ref().is_some_and(|(held, _)| *held == thing) {
            return Ok(());
        }
        match Claim::take(&thing, claimant) {
            Ok(claim) => {
                self.held = Some((thing, claim));
                Ok(())
            }
            Err(holder) => {
                // The radio that was ours has another address, or its address another radio.
                self.held = None;
                self.missed = Some(thing);
                Err(holder)
            }
        }
    }

    /// Lets go of what was claimed: where the radio is now is not known, or it was away for long.
    pub(crate) fn let_go(&mut self) {
        self.held = None;
    }

    /// Returns which relay holds a radio that the system does not let us have.
    pub(crate) fn missed(&mut self, thing: Thing) -> Option<Holder> {
        self.claimant.as_ref()?;
        let holder = Claim::holder_of(&thing)?;
        self.missed = Some(thing);
        Some(holder)
    }

    /// Completes when nobody holds any more what another relay held at the last attempt. Cancel safe.
    pub(crate) async fn freed(&self) {
        let Some(thing) = &self.missed else {
            return std::future::pending().await;
        };
        while !Claim::is_free(thing) {
            sleep(LOOK_EVERY).await;
        }
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::net::SocketAddr;
    use std::path::Path;

    use super::*;

    fn claim(home: &str) -> RadioClaim {
        let started = "2025-01-31T12:00:00Z".to_owned();
        RadioClaim::new(Some(Claimant::new(Path::new(home), started)))
    }

    /// Names no radio of another test: the port is this test's as long as it is bound.
    fn radio() -> (std::net::TcpListener, SocketAddr) {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    #[tokio::test(start_paused = true)]
    async fn a_radio_that_another_relay_lets_go_of_is_free_within_a_second() {
        let (_port, address) = radio();
        let radio = || Thing::network(address);
        let (mut first, mut second) = (claim("/srv/one"), claim("/srv/two"));
        first.take(radio()).unwrap();
        first.take(radio()).unwrap();
        let holder = second.take(radio()).unwrap_err();
        assert!(holder.to_string().contains("`/srv/one`"), "{holder}");
        let waiting = tokio::time::timeout(5 * LOOK_EVERY, second.freed());
        assert!(waiting.await.is_err());
        drop(first);
        second.freed().await;
        second.take(radio()).unwrap();
    }

    #[test]
    fn what_was_claimed_before_is_let_go_of_for_what_is_claimed_now() {
        let ((_a, one), (_b, other)) = (radio(), radio());
        let mut first = claim("/srv/one");
        first.take(Thing::network(one)).unwrap();
        first.take(Thing::network(other)).unwrap();
        claim("/srv/two").take(Thing::network(one)).unwrap();
    }
}
