//! Periodic decisions, and those at a start.

use std::time::Duration;

use strum::VariantArray as _;

use super::{Bridge, action::Action, facts::Facts};
use relay_model::{Chore, Sign, Synced, Timestamp, WaitingPacket};

/// Maximum time to wait for reports on a packet (180 s on slow presets).
const UNKNOWN_AFTER: Duration = Duration::from_mins(3);
/// How often a parked room is retried, in case a change went unnoticed.
const PARKED_RETRY: Duration = Duration::from_mins(5);
/// How often signs are retried in a room that refused them though its power levels allow them.
const SIGNS_RETRY: Duration = Duration::from_hours(24);
/// Number of rows for rooms from which the operator is warned: only the disk limits them.
pub const MANY_ROWS: u64 = 100_000;
/// Cooldown name of that warning.
pub(super) const BACKLOG: &str = "backlog to matrix";
const BACKLOG_AGAIN: Duration = Duration::from_hours(1);

impl Bridge {
    pub(super) fn chore(&mut self, chore: Chore, facts: &Facts, now: Timestamp) -> Vec<Action> {
        match chore {
            Chore::Start => self.start(facts, now),
            Chore::Reload => self.reload(facts, now),
            Chore::Login => vec![Action::TryAgain(None)],
            Chore::Permissions => self.end_forbidden(facts),
            Chore::Round(up) => self.round(up, now),
            Chore::Rooms => self.settle_rooms(facts, now),
            Chore::Channels(row) => {
                let is_back = |it: &WaitingPacket| it.refused && !it.submitted;
                if row.is_some() && !facts.packets.iter().any(is_back) {
                    return Vec::new();
                }
                self.follow_channels(None, facts, now)
            }
            Chore::Overdue => {
                let unanswered = now - UNKNOWN_AFTER;
                vec![Action::EndOverdue(unanswered), Action::WakeMesh]
            }
            Chore::Keys => self.give_up_keys(facts, now),
            Chore::Expired => self.tell_expired(facts, now),
            Chore::Outage => self.tell_outage(facts, now),
            Chore::Waiting => self.show(facts, now),
            Chore::Tables => self.look_after_tables(facts, now),
            Chore::Signs => {
                let mut actions = self.show(facts, now);
                actions.push(Action::ForgetChanged);
                actions
            }
        }
    }

    /// Stores the account's sync position and the homeserver's clock reading.
    pub(super) fn synced(&mut self, synced: &Synced, now: Timestamp) -> Vec<Action> {
        let Some(account) = self.own_user.clone() else {
            return Vec::new();
        };
        let mut actions = vec![Action::Position(account, Box::new(synced.clone()))];
        let reading = synced.clock.as_ref();
        if reading.is_some_and(|reading| self.calendar.compare(reading)) {
            actions.push(Action::LookBy(now));
        }
        actions
    }

    fn start(&mut self, facts: &Facts, now: Timestamp) -> Vec<Action> {
        self.calendar.look(now, Duration::ZERO);
        self.starts(now);
        let mut actions = vec![Action::Recover];
        // An outage began at the latest when something was last done for the mesh.
        if facts.radio_away.is_none() {
            actions.push(Action::RadioAway(facts.last_active));
        }
        actions.extend(self.follow_configuration());
        actions
    }

    /// Decides as at a start, but for what is on its way to the radio. That the radio is there is told apart.
    fn reload(&mut self, facts: &Facts, now: Timestamp) -> Vec<Action> {
        let mut actions = self.follow_configuration();
        if !self.linked {
            actions.extend(self.link_is_lost(facts, now));
        }
        actions
    }

    /// Has what waits follow a configuration that may be new.
    fn follow_configuration(&self) -> Vec<Action> {
        let mode = self.config.meshtastic.delivery_feedback;
        // Otherwise an hourglass would never be removed.
        let signs = Sign::VARIANTS.iter().copied();
        let unwanted = signs.filter(|sign| !mode.shows(*sign));
        // What was refused may be permitted now.
        let mut actions = vec![Action::TryAgain(None), Action::WakeMesh];
        actions.extend(unwanted.map(Action::ForgetWishes));
        actions.extend([Action::Next(Chore::Rooms), Action::Next(Chore::Permissions)]);
        actions
    }

    fn round(&mut self, up: Duration, now: Timestamp) -> Vec<Action> {
        self.up = up;
        let jump = self.calendar.look(now, up);
        let mut actions: Vec<Action> = jump.map(Action::FollowClock).into_iter().collect();
        let chores = [
            Chore::Rooms,
            Chore::Overdue,
            Chore::Waiting,
            Chore::Keys,
            Chore::Expired,
            Chore::Outage,
            Chore::Tables,
        ];
        actions.extend(chores.map(Action::Next));
        actions
    }

    fn look_after_tables(&mut self, facts: &Facts, now: Timestamp) -> Vec<Action> {
        let mut actions = Vec::new();
        let database = &self.config.database;
        if self.calendar.is_steady(self.up) {
            let days = database.keep_days;
            actions.push(Action::Prune {
                days: days.saturating_add(self.calendar.days_ahead()),
                // As in MMRelay, 0 means no limit.
                pairs: match database.msg_map.msgs_to_keep {
                    0 => u64::MAX,
                    pairs => pairs,
                },
            });
        }
        if facts.rows_for_rooms > MANY_ROWS && facts.cooldowns.is_empty() {
            actions.push(Action::SayBacklog(facts.rows_for_rooms));
            actions.push(Action::StartCooldown {
                what: BACKLOG.to_owned(),
                until: now + BACKLOG_AGAIN,
            });
        }
        if self.up.saturating_sub(self.permitted_at) >= SIGNS_RETRY {
            self.permitted_at = self.up;
            let permitting = self.rooms.values().filter(|room| room.may_react);
            actions.extend(permitting.map(|it| Action::PermitSigns(it.room.clone())));
            actions.push(Action::WakeSigns);
        }
        if self.up.saturating_sub(self.unparked_at) >= PARKED_RETRY {
            self.unparked_at = self.up;
            actions.push(Action::TryAgain(None));
        }
        actions
    }

    /// Sets the signs that follow from messages' states, and marks messages as read once the radio took them.
    fn show(&self, facts: &Facts, now: Timestamp) -> Vec<Action> {
        let mode = self.config.meshtastic.delivery_feedback;
        let mut actions = Vec::new();
        for fate in &facts.fates {
            let sign = super::feedback::sign(fate, mode, now);
            actions.push(Action::Show(fate.room.clone(), fate.event.clone(), sign));
            if !fate.parts.is_empty() && !fate.parts.iter().any(|part| part.waits()) {
                actions.push(Action::Read(fate.event.clone()));
            }
        }
        actions
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::*;

    #[test]
    fn a_very_long_queue_is_reported_once_an_hour() {
        let said = |rows_for_rooms, cooldowns: &[&str]| {
            let facts = Facts {
                rows_for_rooms,
                cooldowns: cooldowns.iter().map(|it| (*it).to_owned()).collect(),
                ..Facts::default()
            };
            bridge().look_after_tables(&facts, NOON)
        };
        assert_eq!(said(MANY_ROWS, &[]), []);
        let until = NOON + Duration::from_hours(1);
        let what = BACKLOG.to_owned();
        assert_eq!(
            said(MANY_ROWS + 1, &[]),
            [
                Action::SayBacklog(MANY_ROWS + 1),
                Action::StartCooldown { what, until }
            ]
        );
        assert_eq!(said(MANY_ROWS + 1, &[BACKLOG]), []);
    }
}
