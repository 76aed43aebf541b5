//! The mapped rooms: which they are, joining them, and what is known of each.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError, RwLock};
use std::time::Duration;

use matrix_sdk::ruma::api::client::membership::join_room_by_id_or_alias;
use matrix_sdk::ruma::events::MessageLikeEventType;
use matrix_sdk::ruma::{OwnedServerName, RoomAliasId};
use matrix_sdk::{Client, Room, RoomState};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{error, info, warn};

use super::errors::{self, Answer};
use super::events::{SenderFacts, cut, display_name};
use super::{Options, Pulse, backoff};
use crate::config::Invites;
use crate::model::{
    JoinedRoom, OwnedRoomId, OwnedRoomOrAliasId, OwnedUserId, RoomId, RoomOrAliasId, UserId,
};

/// A join over federation can take long.
const JOIN_LIMIT: Duration = Duration::from_mins(2);
const FIRST_PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// The mapped rooms, shared by the sync loop, the task that joins them, and the senders.
#[derive(Debug)]
pub(super) struct Rooms {
    client: Client,
    options: Options,
    /// The room of each configured name, as far as it is known. Never locked across an await.
    resolved: RwLock<HashMap<OwnedRoomOrAliasId, OwnedRoomId>>,
    synced: Mutex<HashSet<OwnedRoomId>>,
    /// What was told of each room last, and whether we might speak there then.
    announced: Mutex<HashMap<OwnedRoomId, (JoinedRoom, bool)>>,
    /// Sentences that were logged, so that each is said once.
    said: Mutex<HashSet<String>>,
    /// Invites that nobody has looked at yet.
    invites: Mutex<HashSet<OwnedRoomId>>,
    /// A room may be joinable now, or needs to be joined again.
    retry: Notify,
    /// The room of an alias is known now.
    changed: Notify,
}

impl Rooms {
    pub(super) fn new(client: Client, options: Options) -> Self {
        let resolved = options
            .rooms
            .iter()
            .filter_map(|name| Some((name.clone(), room_id(name)?)))
            .collect();
        let synced = client
            .joined_rooms()
            .iter()
            .map(|room| room.room_id().to_owned())
            .collect();
        Self {
            client,
            options,
            resolved: RwLock::new(resolved),
            synced: Mutex::new(synced),
            announced: Mutex::default(),
            said: Mutex::default(),
            invites: Mutex::default(),
            retry: Notify::new(),
            changed: Notify::new(),
        }
    }

    /// Returns the room of a configured name, or of any room id.
    pub(super) fn room_of(&self, name: &RoomOrAliasId) -> Option<OwnedRoomId> {
        let resolved = self.resolved.read().unwrap_or_else(PoisonError::into_inner);
        resolved.get(name).cloned().or_else(|| room_id(name))
    }

    /// Returns the configured names of a room; none: it is not mapped.
    fn names_of(&self, room: &RoomId) -> Vec<OwnedRoomOrAliasId> {
        let resolved = self.resolved.read().unwrap_or_else(PoisonError::into_inner);
        self.options
            .rooms
            .iter()
            .filter(|name| resolved.get(*name).is_some_and(|id| id == room))
            .cloned()
            .collect()
    }

    /// Returns whether a room is of the configuration.
    pub(super) fn is_mapped(&self, room: &RoomId) -> bool {
        let resolved = self.resolved.read().unwrap_or_else(PoisonError::into_inner);
        resolved.values().any(|id| id == room)
    }

    /// Returns whether we would have to send in the clear into an encrypted room, which is never done.
    pub(super) fn is_refused(&self, room: &Room) -> bool {
        !self.options.encryption && room.encryption_state().is_encrypted()
    }

    /// Returns a room of the configuration, unless it is refused.
    pub(super) fn mapped(&self, id: &RoomId) -> Option<Room> {
        if !self.is_mapped(id) {
            return None;
        }
        self.client
            .get_room(id)
            .filter(|room| !self.is_refused(room))
    }

    /// Returns whether an answer of the server has shown the room as joined. (The SDK's own mark of it can be lost
    /// when an answer and a join cross.)
    pub(super) fn is_synced(&self, id: &RoomId) -> bool {
        lock(&self.synced).contains(id)
    }

    /// Takes note of which rooms an answer has shown as joined and as left.
    pub(super) fn note_synced<'a>(
        &self,
        joined: impl Iterator<Item = &'a OwnedRoomId>,
        left: impl Iterator<Item = &'a OwnedRoomId>,
    ) {
        let mut synced = lock(&self.synced);
        synced.extend(joined.cloned());
        for id in left {
            synced.remove(id);
        }
    }

    /// Returns the joined rooms of the configuration that the server has told us of.
    pub(super) fn joined(&self) -> Vec<Room> {
        let ids: HashSet<OwnedRoomId> = {
            let resolved = self.resolved.read().unwrap_or_else(PoisonError::into_inner);
            resolved.values().cloned().collect()
        };
        ids.iter()
            .filter(|id| self.is_synced(id))
            .filter_map(|id| self.client.get_room(id))
            .filter(|room| room.state() == RoomState::Joined)
            .collect()
    }

    /// Waits until something about the mapping has changed.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns where the server's answers are noted.
    pub(super) fn pulse(&self) -> &Pulse {
        &self.options.pulse
    }

    /// Returns what there is to tell of a room, if it is mapped, usable, and not told before as it is now.
    pub(super) async fn news(&self, room: &Room) -> Option<JoinedRoom> {
        let configured = self.names_of(room.room_id());
        if configured.is_empty() || room.state() != RoomState::Joined {
            return None;
        }
        self.tell_upgrade(room);
        if self.is_refused(room) {
            self.say_once(format!("refused {}", room.room_id()), || {
                error!(
                    room = %room.room_id(),
                    "this room is encrypted and `matrix.e2ee.enabled` is false: nothing is relayed; set it to true or map another room"
                );
            });
            return None;
        }
        let encrypted = room.latest_encryption_state().await.ok()?.is_encrypted();
        let name = match room.display_name().await {
            Ok(name) => name.to_string(),
            Err(_) => room.room_id().to_string(),
        };
        let levels = room.power_levels_or_default().await;
        let own = room.own_user_id();
        let now = JoinedRoom {
            room: room.room_id().to_owned(),
            configured,
            name: cut(&name, 256).to_owned(),
            encrypted,
            public: room.is_public().unwrap_or(false),
            may_mention_room: levels.user_can_trigger_room_notification(own),
            may_react: levels.user_can_send_message(own, MessageLikeEventType::Reaction)
                && levels.user_can_redact_own_event(own),
        };
        // What waits for a room where we might not speak is tried again when we may.
        let may_speak = levels.user_can_send_message(own, MessageLikeEventType::RoomMessage);
        let told = (now, may_speak);
        let mut announced = lock(&self.announced);
        if announced.get(&told.0.room) == Some(&told) {
            return None;
        }
        announced.insert(told.0.room.clone(), told.clone());
        Some(told.0)
    }

    /// Returns the name and power of a member, without asking the server.
    pub(super) async fn sender_facts(&self, room: &Room, user: &OwnedUserId) -> SenderFacts {
        let member = room.get_member_no_sync(user).await.ok().flatten();
        let name = display_name(member.as_ref().and_then(|it| it.display_name()), user);
        let levels = room.power_levels_or_default().await;
        let power = match levels.for_user(user) {
            matrix_sdk::ruma::events::room::power_levels::UserPowerLevel::Int(level) => {
                level.into()
            }
            // A creator of a version 12 room is above every number.
            _ => i64::MAX,
        };
        SenderFacts { name, power }
    }

    /// Takes note of an invite that came in.
    pub(super) fn invited(&self, room: &RoomId) {
        lock(&self.invites).insert(room.to_owned());
        self.retry.notify_one();
    }

    /// Accepts an invite to a room that is not mapped, if it comes from a listed person; says what to do about others.
    async fn look_at_invite(&self, id: &RoomId) {
        let room = self.client.get_room(id);
        let Some(room) = room.filter(|room| room.state() == RoomState::Invited) else {
            return;
        };
        if self.is_mapped(id) {
            return;
        }
        let inviter = inviter(&room).await;
        let shown = inviter
            .as_ref()
            .map_or_else(String::new, ToString::to_string);
        self.say_once(format!("invite {id}"), || {
            info!(
                room = %id,
                inviter = shown,
                lines = yaml_lines(id),
                "invited to a room that is not in the configuration; to relay it, add the lines to `matrix_rooms`"
            );
        });
        if !self.is_listed(inviter.as_deref()) {
            return;
        }
        let servers = inviter.iter().map(|user| user.server_name().to_owned());
        if let Err(problem) = self.join(id, servers.collect()).await {
            warn!(room = %id, error = &problem as &dyn std::error::Error, "cannot accept the invite");
        }
    }

    /// Takes note that a room was left, or we were put out of it.
    pub(super) fn left(&self, id: &RoomId) {
        if self.is_mapped(id) {
            warn!(room = %id, "no longer in this room: trying to join it again");
            lock(&self.announced).remove(id);
            self.retry.notify_one();
        }
    }

    fn is_listed(&self, inviter: Option<&UserId>) -> bool {
        match &self.options.invites {
            Invites::Mapped | Invites::None => false,
            Invites::From(people) => {
                inviter.is_some_and(|inviter| people.iter().any(|pattern| pattern.matches(inviter)))
            }
        }
    }

    fn tell_upgrade(&self, room: &Room) {
        let Some(next) = room.successor_room() else {
            return;
        };
        self.say_once(format!("upgraded {}", room.room_id()), || {
            warn!(
                room = %room.room_id(),
                successor = %next.room_id,
                "this room was replaced by another: put the successor's id into `matrix_rooms`, and invite the bot there"
            );
        });
        self.retry.notify_one();
    }

    fn say_once(&self, what: String, say: impl FnOnce()) {
        let mut said = lock(&self.said);
        // Invites come from anybody: do not remember without end.
        if said.len() < 10_000 && said.insert(what) {
            say();
        }
    }

    /// Makes sure that a configured room is joined.
    async fn ensure(&self, name: &OwnedRoomOrAliasId) -> Result<(), JoinProblem> {
        let (id, mut servers) = self.resolve(name).await?;
        let room = self.client.get_room(&id);
        match room.as_ref().map(|room| room.state()) {
            Some(RoomState::Joined) => return Ok(()),
            Some(RoomState::Invited) => {
                let inviter = match &room {
                    Some(room) => inviter(room).await,
                    None => None,
                };
                // Mapped rooms are joined whoever invites; a list only adds rooms.
                if self.options.invites == Invites::None {
                    return Err(JoinProblem::InvitesOff);
                }
                servers.extend(inviter.map(|user| user.server_name().to_owned()));
            }
            Some(_) | None => {}
        }
        self.join(&id, servers).await
    }

    async fn join(
        &self,
        id: &RoomId,
        mut servers: Vec<OwnedServerName>,
    ) -> Result<(), JoinProblem> {
        servers.extend(id.server_name().map(ToOwned::to_owned));
        // Asks the server alone: the SDK's own join also changes what it knows of the room, and where that meets a sync
        // answer, the room is taken for one of unknown state until somebody speaks in it.
        let mut request = join_room_by_id_or_alias::v3::Request::new(id.to_owned().into());
        request.via = servers;
        match timeout(
            JOIN_LIMIT,
            Box::pin(async { self.client.send(request).await }),
        )
        .await
        {
            Ok(Ok(_)) => {
                info!(room = %id, "room joined");
                Ok(())
            }
            Ok(Err(error)) => Err(JoinProblem::of(&error.into(), self.client.user_id())),
            Err(_) => Err(JoinProblem::Away),
        }
    }

    async fn resolve(
        &self,
        name: &OwnedRoomOrAliasId,
    ) -> Result<(OwnedRoomId, Vec<OwnedServerName>), JoinProblem> {
        let Ok(alias) = <&RoomAliasId>::try_from(name.as_str()) else {
            return room_id(name)
                .map(|id| (id, Vec::new()))
                .ok_or(JoinProblem::NoSuchRoom);
        };
        match self.client.resolve_room_alias(alias).await {
            Ok(found) => {
                let before = {
                    let mut resolved = self
                        .resolved
                        .write()
                        .unwrap_or_else(PoisonError::into_inner);
                    resolved.insert(name.clone(), found.room_id.clone())
                };
                if before.as_ref() != Some(&found.room_id) {
                    if let Some(before) = before {
                        info!(alias = %name, %before, room = %found.room_id, "the alias stands for another room now");
                        lock(&self.announced).remove(&before);
                    }
                    self.changed.notify_one();
                }
                // The first few are enough to find the room.
                let servers = found.servers.into_iter().take(5).collect();
                Ok((found.room_id, servers))
            }
            Err(error) => match Answer::of(&error) {
                Some(answer) if answer.status == 404 && answer.errcode.is_some() => {
                    Err(JoinProblem::NoSuchAlias)
                }
                Some(answer) if answer.errcode.is_some() && answer.status < 429 => {
                    Err(JoinProblem::Other(answer.message))
                }
                Some(_) | None => Err(JoinProblem::Away),
            },
        }
    }
}

/// Why a room is not joined.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum JoinProblem {
    #[error("the bot may not join this room: invite {0} there")]
    Forbidden(String),
    #[error(
        "there is no such room, or nobody of this server is in it: check the id, and invite the bot there"
    )]
    NoSuchRoom,
    #[error("there is no such room alias: check it, or give the room's id (`!…`)")]
    NoSuchAlias,
    #[error(
        "invited, but `matrix.invites` is `none`: set it to `mapped`, or join the room with another client"
    )]
    InvitesOff,
    #[error("the room cannot be joined: {0}")]
    Other(String),
    /// The server cannot be reached, which the sync loop says.
    #[error("the homeserver does not answer")]
    Away,
}

impl JoinProblem {
    fn of(error: &matrix_sdk::Error, user: Option<&UserId>) -> Self {
        let Some(answer) = errors::http(error).and_then(Answer::of) else {
            return Self::Away;
        };
        let user = user.map_or_else(|| "the bot".to_owned(), ToString::to_string);
        match (answer.status, &answer.errcode) {
            (403, Some(_)) => Self::Forbidden(user),
            (404, Some(_)) => Self::NoSuchRoom,
            (400..500, Some(_)) if answer.status != 429 && answer.status != 401 => {
                Self::Other(answer.message)
            }
            (_, _) => Self::Away,
        }
    }
}

#[derive(Debug, Default)]
struct Attempt {
    failures: u32,
    next: Option<Instant>,
    problem: Option<JoinProblem>,
}

/// Joins what is to be joined, again and again; never ends.
pub(super) async fn keep_joined(rooms: &Rooms) {
    let mut attempts: HashMap<OwnedRoomOrAliasId, Attempt> = HashMap::new();
    for room in rooms.client.invited_rooms() {
        rooms.invited(room.room_id());
    }
    loop {
        let mut wake = Instant::now() + LONGEST_PAUSE;
        for name in &rooms.options.rooms {
            let attempt = attempts.entry(name.clone()).or_default();
            if let Some(next) = attempt.next.filter(|next| *next > Instant::now()) {
                wake = wake.min(next);
                continue;
            }
            match rooms.ensure(name).await {
                Ok(()) => *attempt = Attempt::default(),
                Err(problem) => {
                    attempt.failures = attempt.failures.saturating_add(1);
                    let pause = backoff::pause(attempt.failures, FIRST_PAUSE, LONGEST_PAUSE);
                    let next = Instant::now() + pause;
                    attempt.next = Some(next);
                    wake = wake.min(next);
                    if problem != JoinProblem::Away && attempt.problem.as_ref() != Some(&problem) {
                        warn!(room = %name, error = &problem as &dyn std::error::Error, "cannot join, trying again later");
                        attempt.problem = Some(problem);
                    }
                }
            }
        }
        // Only now all aliases are known that can be.
        let invites: Vec<OwnedRoomId> = lock(&rooms.invites).drain().collect();
        for room in invites {
            rooms.look_at_invite(&room).await;
        }
        // Both may be dropped: the next round looks at everything again.
        tokio::select! {
            () = sleep_until(wake) => {}
            () = rooms.retry.notified() => {
                for attempt in attempts.values_mut() {
                    attempt.next = None;
                }
                // Whoever keeps putting us out must not keep us busy.
                sleep_until(Instant::now() + Duration::from_millis(200)).await;
            }
        }
    }
}

async fn inviter(room: &Room) -> Option<OwnedUserId> {
    let details = room.invite_details().await.ok()?;
    Some(details.inviter?.user_id().to_owned())
}

fn yaml_lines(id: &RoomId) -> String {
    format!("- {{id: \"{id}\", meshtastic_channel: 0}}")
}

fn room_id(name: &RoomOrAliasId) -> Option<OwnedRoomId> {
    <&RoomId>::try_from(name.as_str())
        .ok()
        .map(ToOwned::to_owned)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use matrix_sdk::ruma::room_id;

    use super::*;

    #[test]
    fn the_lines_to_paste_are_yaml_of_a_mapped_room() {
        assert_eq!(
            yaml_lines(room_id!("!abc:example.org")),
            r#"- {id: "!abc:example.org", meshtastic_channel: 0}"#
        );
    }

    #[test]
    fn every_problem_of_a_room_says_its_cure() {
        for problem in [
            JoinProblem::Forbidden("@relay:example.org".to_owned()),
            JoinProblem::NoSuchRoom,
            JoinProblem::NoSuchAlias,
            JoinProblem::InvitesOff,
        ] {
            let text = problem.to_string();
            assert!(
                text.contains("invite") || text.contains("check") || text.contains("set it"),
                "{text}"
            );
        }
    }
}
