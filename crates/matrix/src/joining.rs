//! Keeps the configured rooms joined, and reports why the bot is not in a room.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use matrix_sdk::room::MessagesOptions;
use matrix_sdk::ruma::api::client::knock::knock_room;
use matrix_sdk::ruma::api::client::membership::join_room_by_id_or_alias;
use matrix_sdk::ruma::api::client::state::get_state_event_for_key::v3 as state;
use matrix_sdk::ruma::events::StateEventType;
use matrix_sdk::ruma::events::room::member::MembershipState;
use matrix_sdk::ruma::{OwnedServerName, RoomAliasId, UserId};
use matrix_sdk::{Room, RoomState};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{info, warn};

use super::rooms::{Rooms, tombstone};
use super::{errors::ServerAnswer, events::Envelope, trouble::RoomTrouble};
use relay_model::{
    Backoff, Explained as _, OwnedRoomId, OwnedRoomOrAliasId, OwnedUserId, RoomId, Timestamp,
};

/// Maximum time for a join; over federation it can take long.
pub(super) const JOIN_LIMIT: Duration = Duration::from_mins(2);
const LONGEST_PAUSE: Duration = Duration::from_mins(5);
const PAUSES: Backoff = Backoff::new(Duration::from_secs(5), LONGEST_PAUSE);
/// How often to look again at a room whose state the server has not returned in full.
const UNTOLD_AGAIN: Duration = Duration::from_mins(1);

/// Why the bot asks to be in a mapped room; stands in its membership.
const REASON: &str = "relay between a mesh and this room";

/// How the attempts to join a configured room went.
#[derive(Debug, Default)]
struct Attempt {
    failures: u32,
    next: Option<Instant>,
    reported: Option<RoomTrouble>,
}

impl Attempt {
    /// Records a failure. Returns whether to log it.
    fn failed(&mut self, trouble: &RoomTrouble, now: Instant, random: f64) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.next = Some(now + PAUSES.after(self.failures, random));
        // The sync loop reports that the homeserver does not answer.
        let is_news = *trouble != RoomTrouble::NoAnswer && self.reported.as_ref() != Some(trouble);
        if is_news {
            self.reported = Some(trouble.clone());
        }
        is_news
    }
}

/// Joins the configured rooms and accepts invites; never returns.
pub(super) async fn keep_joined(rooms: &Rooms) {
    let mut attempts: HashMap<OwnedRoomOrAliasId, Attempt> = HashMap::new();
    for room in rooms.client.invited_rooms() {
        rooms.note_invite(room.room_id());
    }
    // Messages from before an alias moved belong to the room that it pointed to then.
    rooms.caught_up.wait().await;
    loop {
        for name in &rooms.options.rooms {
            let attempt = attempts.entry(name.clone()).or_default();
            if attempt.next.is_some_and(|next| next > Instant::now()) {
                continue;
            }
            let trouble = ensure(rooms, name).await.err();
            rooms.options.pulse.trouble(name, trouble.clone());
            let Some(trouble) = trouble else {
                *attempt = Attempt::default();
                continue;
            };
            if attempt.failed(&trouble, Instant::now(), rand::random()) {
                warn!(room = %name, error = &trouble as &dyn Error, hint = trouble.hint(), "there is a problem with this room");
            }
        }
        // By now all aliases are resolved, as far as possible.
        rooms.looked_for.set(()).ok();
        for room in rooms.take_invites() {
            look_at_invite(rooms, &room).await;
        }
        let mut longest = LONGEST_PAUSE;
        if rooms.is_one_untold() {
            rooms.changed.notify_one();
            longest = UNTOLD_AGAIN;
        }
        let next = attempts.values().filter_map(|attempt| attempt.next);
        let wake = next.fold(Instant::now() + longest, Instant::min);
        // Both are cancel safe: the next round looks at everything again.
        tokio::select! {
            () = sleep_until(wake) => {}
            () = rooms.retry.notified() => {
                for attempt in attempts.values_mut() {
                    attempt.next = None;
                }
                // Limits the rate if somebody keeps removing us.
                sleep_until(Instant::now() + Duration::from_millis(200)).await;
            }
        }
    }
}

/// Ensures that the room of a configured name is joined, or the one that is to take its place.
async fn ensure(rooms: &Rooms, name: &OwnedRoomOrAliasId) -> Result<(), RoomTrouble> {
    let mut servers = look_up(rooms, name).await?;
    let Some(next) = rooms.next_of(name) else {
        return match rooms.stands_for(name) {
            Some(room) => enter(rooms, &room, servers).await,
            None => Ok(()),
        };
    };
    servers.extend(rooms.server_of_successor(&next).await);
    let entered = enter(rooms, &next.room, servers).await;
    let trouble = match entered {
        Ok(()) => rooms.objection(name, &next).await,
        Err(trouble) => Some(trouble),
    };
    // If it is joined already, no answer of the homeserver brings it up.
    rooms.changed.notify_one();
    match trouble {
        Some(trouble) => Err(RoomTrouble::Next(next.room, Box::new(trouble))),
        None => Ok(()),
    }
}

/// Ensures that a room is joined.
async fn enter(
    rooms: &Rooms,
    id: &OwnedRoomId,
    mut servers: Vec<OwnedServerName>,
) -> Result<(), RoomTrouble> {
    let trouble = match rooms.client.get_room(id) {
        // After a new login the client does not know earlier memberships.
        None => put_out_before(rooms, id).await,
        Some(room) => match room.state() {
            RoomState::Joined if rooms.is_refused(&room) => Some(RoomTrouble::Encrypted),
            RoomState::Joined => return Ok(()),
            // A mapped room is joined whoever invites; the list only adds other rooms.
            RoomState::Invited if rooms.options.invites.is_none() => Some(RoomTrouble::InvitesOff),
            RoomState::Invited => {
                let inviter = inviter(&room).await;
                servers.extend(inviter.map(|user| user.server_name().to_owned()));
                None
            }
            // The SDK's state `Left` can also be a ban.
            RoomState::Left => put_out(&room, &rooms.own).await,
            RoomState::Banned => Some(RoomTrouble::Banned(rooms.own.clone())),
            RoomState::Knocked => None,
        },
    };
    match trouble {
        Some(trouble) => Err(trouble),
        None => join_or_knock(rooms, id, servers).await,
    }
}

async fn put_out(room: &Room, bot: &OwnedUserId) -> Option<RoomTrouble> {
    let member = room.get_member_no_sync(bot).await.ok()??;
    put_out_by(member.membership(), member.event().sender(), bot)
}

/// Returns whether somebody removed us before this login, as far as the server tells non-members.
async fn put_out_before(rooms: &Rooms, id: &OwnedRoomId) -> Option<RoomTrouble> {
    let bot = &rooms.own;
    let mut request = state::Request::new(id.clone(), StateEventType::RoomMember, bot.to_string());
    request.format = state::StateEventFormat::Event;
    let answer = rooms.client.send(request).await.ok()?;
    let member = Envelope::read(answer.event_or_content.get())?;
    put_out_by(&member.membership()?.into(), &member.sender, bot)
}

/// Returns the trouble if a membership set by `by` keeps us out of a room; `None` if we left it ourselves, with another
/// client.
pub(super) fn put_out_by(
    what: &MembershipState,
    by: &UserId,
    bot: &OwnedUserId,
) -> Option<RoomTrouble> {
    let (bot, is_other) = (bot.clone(), by != bot);
    match what {
        MembershipState::Ban => Some(RoomTrouble::Banned(bot)),
        MembershipState::Leave if is_other => Some(RoomTrouble::PutOut {
            bot,
            by: by.to_owned(),
        }),
        _ => None,
    }
}

/// Accepts an invite to an unmapped room from a listed user, or to the direct room in which somebody verifies the bot; logs
/// what to do about other invites.
async fn look_at_invite(rooms: &Rooms, id: &OwnedRoomId) {
    let room = rooms.client.get_room(id);
    let Some(room) = room.filter(|room| room.state() == RoomState::Invited) else {
        return;
    };
    let is_next = |name| rooms.next_of(name).is_some_and(|next| next.room == *id);
    if rooms.is_mapped(id) || rooms.options.rooms.iter().any(|name| is_next(name)) {
        return;
    }
    let inviter = inviter(&room).await;
    let shown = inviter
        .as_ref()
        .map_or_else(String::new, ToString::to_string);
    let options = &rooms.options;
    let verifies = (inviter.as_ref()).is_some_and(|user| options.verify_with.contains(user))
        && room.is_direct().await.unwrap_or_default();
    if !verifies && rooms.is_news(format!("invite {id}")) {
        info!(
            room = %id,
            inviter = shown,
            lines = yaml_lines(id),
            "invited to a room that is not in the configuration; to relay it, add the lines to `matrix_rooms`"
        );
    }
    let Some(inviter) = inviter else {
        return;
    };
    let mut people = options.invites.iter().flatten();
    if !verifies && !people.any(|pattern| pattern.matches(&inviter)) {
        return;
    }
    let servers = vec![inviter.server_name().to_owned()];
    if let Err(trouble) = join(rooms, id, servers, None).await {
        if rooms.is_news(format!("invite {id}: {trouble}")) {
            warn!(room = %id, error = &trouble as &dyn Error, hint = trouble.hint(), "cannot accept the invite, trying again");
        }
        rooms.note_invite(id);
    }
}

/// Joins a room; where it is not open to the bot, asks once to be let in, if the room permits that.
async fn join_or_knock(
    rooms: &Rooms,
    id: &RoomId,
    servers: Vec<OwnedServerName>,
) -> Result<(), RoomTrouble> {
    let refused = join(rooms, id, servers.clone(), Some(REASON)).await;
    let Err(RoomTrouble::NotInvited(_) | RoomTrouble::Restricted(_)) = refused else {
        return refused;
    };
    let room = rooms.client.get_room(id);
    let has_knocked = room.is_some_and(|room| room.state() == RoomState::Knocked);
    // An answer to a knock is an invite.
    let may_knock = rooms.options.invites.is_some();
    if has_knocked || may_knock && knock(rooms, id, servers).await {
        return Err(RoomTrouble::Knocked(rooms.own.clone()));
    }
    refused
}

/// Asks to be let into a room. Returns whether the room permits that.
async fn knock(rooms: &Rooms, id: &RoomId, servers: Vec<OwnedServerName>) -> bool {
    let mut request = knock_room::v3::Request::new(id.to_owned().into());
    request.via = servers;
    request.reason = Some(REASON.to_owned());
    let answer = Box::pin(async { rooms.client.send(request).await });
    let is_taken = matches!(timeout(JOIN_LIMIT, answer).await, Ok(Ok(_)));
    if is_taken {
        info!(room = %id, "the bot has knocked at a room");
    }
    is_taken
}

async fn join(
    rooms: &Rooms,
    id: &RoomId,
    mut servers: Vec<OwnedServerName>,
    reason: Option<&str>,
) -> Result<(), RoomTrouble> {
    servers.extend(id.server_name().map(ToOwned::to_owned));
    // Sends the request directly: the SDK's own join also changes its room state, and if that races with a sync answer,
    // the room's encryption state stays unknown until the next message.
    let mut request = join_room_by_id_or_alias::v3::Request::new(id.to_owned().into());
    request.via = servers;
    request.reason = reason.map(str::to_owned);
    let answer = Box::pin(async { rooms.client.send(request).await });
    match timeout(JOIN_LIMIT, answer).await {
        Ok(Ok(_)) => {
            // Until the sync shows it, the room may be joined once more.
            if rooms.known().let_in.insert(id.to_owned()) {
                info!(room = %id, "the homeserver has let the bot into a room");
            }
            Ok(())
        }
        Ok(Err(error)) => Err(refusal(ServerAnswer::of(&error).as_ref(), &rooms.own)),
        Err(_) => Err(RoomTrouble::NoAnswer),
    }
}

impl Rooms {
    /// Returns when the bot joined a room because it is mapped, if that was between two tokens.
    pub(super) async fn joined_for_mapping(
        &self,
        room: &Room,
        from: &str,
        to: &str,
    ) -> Option<Timestamp> {
        let mut options = MessagesOptions::backward().from(to);
        options.to = Some(from.to_owned());
        options.filter.types = Some(vec![StateEventType::RoomMember.to_string()]);
        options.filter.senders = Some(vec![self.own.clone()]);
        let page = room.messages(options).await.ok()?;
        let mut own = page.chunk.iter().filter_map(Envelope::of);
        let join = own.find(|event| {
            let change = event.membership_of(&self.own);
            change.is_some_and(|(before, after)| before != "join" && after == "join")
        })?;
        (join.content()["reason"] == REASON).then_some(join.sent_at)
    }
}

/// Returns why a join failed, from the homeserver's answer.
fn refusal(answer: Option<&ServerAnswer>, bot: &OwnedUserId) -> RoomTrouble {
    trouble_of(answer, |answer| {
        // Matrix has one code for everything forbidden; the message tells the cases apart, on other servers than
        // Synapse too.
        let words = answer.message.to_lowercase();
        match answer.status {
            403 if words.contains("banned") => Some(RoomTrouble::Banned(bot.clone())),
            403 if words.contains("federation denied") => None,
            403 if words.contains("required rooms") => Some(RoomTrouble::Restricted(bot.clone())),
            403 => Some(RoomTrouble::NotInvited(bot.clone())),
            404 => Some(RoomTrouble::NoSuchRoom),
            _ => None,
        }
    })
}

/// Returns the trouble that an answer means: the specific one from `alone`, or else a general one. An answer without an
/// error code comes from a proxy.
pub(super) fn trouble_of(
    answer: Option<&ServerAnswer>,
    alone: impl FnOnce(&ServerAnswer) -> Option<RoomTrouble>,
) -> RoomTrouble {
    let Some(answer) = answer.filter(|answer| answer.errcode.is_some()) else {
        return RoomTrouble::NoAnswer;
    };
    alone(answer).unwrap_or_else(|| match answer.status {
        502 | 504 => RoomTrouble::ServerAway(answer.message.clone()),
        500.. => RoomTrouble::ServerFailed(answer.message.clone()),
        401 | 408 | 425 | 429 => RoomTrouble::NoAnswer,
        _ => RoomTrouble::Other(answer.message.clone()),
    })
}

/// Looks up an alias. Returns servers to join the name's room through.
async fn look_up(
    rooms: &Rooms,
    name: &OwnedRoomOrAliasId,
) -> Result<Vec<OwnedServerName>, RoomTrouble> {
    let given = rooms.options.via.get(name).cloned().unwrap_or_default();
    let Ok(alias) = <&RoomAliasId>::try_from(&**name) else {
        return Ok(given);
    };
    match rooms.client.resolve_room_alias(alias).await {
        Ok(found) => {
            rooms.looked_up(name, Some(found.room_id));
            // A few servers are enough to find the room.
            let servers = found.servers.into_iter().take(5);
            Ok(given.into_iter().chain(servers).collect())
        }
        Err(error) => {
            let before = rooms.joined_as(name);
            let is_replaced = before.as_ref().is_some_and(|it| tombstone(it).is_some());
            let room = before.map(|room| room.room_id().to_owned());
            let trouble = unresolved(ServerAnswer::of(&error).as_ref(), room);
            if let RoomTrouble::AliasGone(_) | RoomTrouble::NoSuchAlias = trouble {
                rooms.looked_up(name, None);
            }
            // What the room itself says is enough.
            if is_replaced { Ok(given) } else { Err(trouble) }
        }
    }
}

/// Returns why an alias could not be resolved; `before` is the room, still joined, that it stood for last.
pub(super) fn unresolved(
    answer: Option<&ServerAnswer>,
    before: Option<OwnedRoomId>,
) -> RoomTrouble {
    trouble_of(answer, |answer| {
        let gone = before.map_or(RoomTrouble::NoSuchAlias, RoomTrouble::AliasGone);
        (answer.status == 404).then_some(gone)
    })
}

/// Returns who sent the invite. (The inviter's own membership is not shown with an invite by every homeserver.)
async fn inviter(room: &Room) -> Option<OwnedUserId> {
    let details = room.invite_details().await.ok()?;
    Some(details.inviter_id)
}

fn yaml_lines(id: &RoomId) -> String {
    format!("- {{id: \"{id}\", meshtastic_channel: 0}}")
}

#[cfg(test)]
mod tests;
