//! A mapped room as the homeserver shows it to the bot.

use matrix_sdk::reqwest::Method;
use matrix_sdk::ruma::events::room::member::MembershipState;
use matrix_sdk::ruma::events::room::power_levels::{
    RoomPowerLevels, RoomPowerLevelsEventContent, RoomPowerLevelsSource,
};
use matrix_sdk::ruma::room_version_rules::RoomVersionRules;
use matrix_sdk::ruma::{RoomAliasId, RoomVersionId};
use serde_json::Value;

use super::{Probe, short};
use crate::errors::ServerAnswer;
use crate::events::Envelope;
use crate::joining::{put_out_by, unresolved};
use crate::rooms::Rights;
use crate::server::ServerError;
use crate::trouble::RoomTrouble;
use relay_model::{JoinedRoom, OwnedRoomId, OwnedUserId, RoomId, RoomOrAliasId, Tombstone};

/// What the homeserver says of a mapped room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RoomFound {
    /// The bot is in it.
    Joined(Box<SeenRoom>),
    /// The bot is not in it, and cannot join, or did not want to.
    Barred(RoomTrouble),
    /// The bot is not in it, and this would let it in.
    Open(Entrance),
    /// The bot is not in it, and not invited; or there is no such room.
    Closed,
    /// The bot is not in it, and this homeserver does not tell whether it may join: the room is another server's.
    Unknown,
}

/// By what the bot could come into a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entrance {
    /// Anyone may join.
    Anyone,
    /// It is invited.
    Invited,
    /// Members of certain other rooms may join, and it is in one of them or invited.
    Member,
    /// It may ask to be let in, or is invited.
    Knock,
}

/// A room that the bot is in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenRoom {
    /// What matters of the room, as the sync loop tells it.
    pub room: JoinedRoom,
    /// Version of the room, as `10`.
    pub version: String,
    /// Its join rule, as `invite`.
    pub join_rule: String,
}

/// The state of a room, as far as it is set.
#[derive(Debug, Default)]
struct State {
    /// The whole event: its sender is a creator.
    create: Value,
    power_levels: Value,
    join_rules: Value,
    encryption: Value,
    tombstone: Value,
    name: Value,
}

impl Probe {
    /// Returns the room of a configured name, or why there is none.
    pub async fn room_of(
        &self,
        name: &RoomOrAliasId,
    ) -> Result<Result<OwnedRoomId, RoomTrouble>, ServerError> {
        match <&RoomAliasId>::try_from(name) {
            Err(id) => Ok(Ok(id.to_owned())),
            Ok(alias) => self.resolve(alias).await,
        }
    }

    /// Looks at a mapped room; `joined` are the rooms that the bot is in.
    pub async fn room(
        &self,
        name: &RoomOrAliasId,
        id: &OwnedRoomId,
        joined: &[OwnedRoomId],
    ) -> Result<RoomFound, ServerError> {
        if joined.contains(id) {
            let state = self.state(id).await?;
            let seen = state.seen(name, id, &self.user);
            return Ok(RoomFound::Joined(Box::new(seen)));
        }
        if let Some(trouble) = self.put_out(id).await? {
            return Ok(RoomFound::Barred(trouble));
        }
        self.entrance(id).await
    }

    async fn resolve(
        &self,
        alias: &RoomAliasId,
    ) -> Result<Result<OwnedRoomId, RoomTrouble>, ServerError> {
        let path = ["v3", "directory", "room", alias.as_str()];
        match self.server.get(&path).await {
            Ok(answer) => match answer["room_id"].as_str().map(TryInto::try_into) {
                Some(Ok(id)) => Ok(Ok(id)),
                Some(Err(_)) | None => Ok(Err(RoomTrouble::NoSuchAlias)),
            },
            Err(error) => match answered(&error) {
                Some(answer) => Ok(Err(unresolved(Some(&answer), None))),
                None => Err(error),
            },
        }
    }

    async fn state(&self, id: &RoomId) -> Result<State, ServerError> {
        let content = |kind| self.state_event(id, kind, "", None);
        let (create, power_levels, join_rules, encryption, tombstone, name) = tokio::try_join!(
            self.state_event(id, "m.room.create", "", Some("format=event")),
            content("m.room.power_levels"),
            content("m.room.join_rules"),
            content("m.room.encryption"),
            content("m.room.tombstone"),
            content("m.room.name"),
        )?;
        Ok(State {
            create,
            power_levels,
            join_rules,
            encryption,
            tombstone,
            name,
        })
    }

    /// Returns a state event's content, or the event; null if there is none.
    async fn state_event(
        &self,
        id: &RoomId,
        kind: &str,
        key: &str,
        query: Option<&str>,
    ) -> Result<Value, ServerError> {
        let path = ["client", "v3", "rooms", id.as_str(), "state", kind, key];
        match self.server.answer(Method::GET, &path, query, None).await {
            Ok((answer, _)) => Ok(answer),
            Err(error) if error.errcode() == Some("M_NOT_FOUND") => Ok(Value::Null),
            Err(error) => Err(error),
        }
    }

    /// Returns whether somebody has removed or banned the bot, as far as the server tells those who are not in the room.
    async fn put_out(&self, id: &RoomId) -> Result<Option<RoomTrouble>, ServerError> {
        let own = self.user.as_str();
        let event = self.state_event(id, "m.room.member", own, Some("format=event"));
        let event = match event.await {
            Ok(event) => event,
            Err(ServerError::Refused { status: 403, .. }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let trouble = || {
            let member = Envelope::read(&event.to_string())?;
            let membership = MembershipState::from(member.membership()?);
            put_out_by(&membership, &member.sender, &self.user)
        };
        Ok(trouble())
    }

    /// Looks at a room that the bot is not in: the server shows a summary only to those who may join it.
    async fn entrance(&self, id: &RoomId) -> Result<RoomFound, ServerError> {
        let path = ["client", "v1", "rooms", id.as_str(), "hierarchy"];
        let query = Some("limit=1&max_depth=0");
        match self.server.answer(Method::GET, &path, query, None).await {
            Ok((answer, _)) => {
                let rule = answer["rooms"][0]["join_rule"].as_str();
                Ok(RoomFound::Open(match rule.unwrap_or("public") {
                    "public" => Entrance::Anyone,
                    "knock" | "knock_restricted" => Entrance::Knock,
                    "restricted" => Entrance::Member,
                    _ => Entrance::Invited,
                }))
            }
            Err(ServerError::Refused { .. }) => {
                let is_ours = |server| server == self.user.server_name();
                Ok(if id.server_name().is_none_or(is_ours) {
                    RoomFound::Closed
                } else {
                    RoomFound::Unknown
                })
            }
            Err(error) => Err(error),
        }
    }
}

impl State {
    fn seen(self, name: &RoomOrAliasId, id: &OwnedRoomId, own: &OwnedUserId) -> SeenRoom {
        let created = &self.create["content"];
        let version = created["room_version"].as_str().unwrap_or("1");
        let rules = RoomVersionId::try_from(version).ok();
        let rules = rules.and_then(|it| it.rules());
        let rules = rules.unwrap_or(RoomVersionRules::V11).authorization;
        let sender = self.create["sender"].as_str();
        let others = created["additional_creators"].as_array();
        let others = others.into_iter().flatten().filter_map(Value::as_str);
        let creators = sender.into_iter().chain(others);
        let creators: Vec<OwnedUserId> = creators.filter_map(|it| it.try_into().ok()).collect();
        let levels = serde_json::from_value::<RoomPowerLevelsEventContent>(self.power_levels);
        let levels = levels.map_or(RoomPowerLevelsSource::None, RoomPowerLevelsSource::Original);
        let levels = RoomPowerLevels::new(levels, &rules, creators);
        let encrypted = self.encryption["algorithm"].is_string();
        let rights = Rights::of(&levels, own, encrypted);
        let rule = self.join_rules["join_rule"].as_str().unwrap_or("invite");
        let shown = self.name["name"].as_str().filter(|name| !name.is_empty());
        let successor = self.tombstone["replacement_room"].as_str();
        SeenRoom {
            version: short(version),
            join_rule: short(rule),
            room: JoinedRoom {
                room: id.clone(),
                configured: vec![name.to_owned()],
                name: shown.map_or_else(|| name.to_string(), short),
                own_name: own.localpart().to_owned(),
                encrypted,
                public: rule == "public",
                may_mention_room: levels.user_can_trigger_room_notification(own),
                may_write: rights.write,
                may_react: rights.react,
                tombstone: self.tombstone["body"].is_string().then(|| Tombstone {
                    successor: successor
                        .and_then(|it| it.try_into().ok())
                        .filter(|it| it != id),
                }),
                predecessor: None,
            },
        }
    }
}

/// Returns what a refusal says; `None`: the homeserver has not answered.
fn answered(error: &ServerError) -> Option<ServerAnswer> {
    let ServerError::Refused {
        status,
        errcode,
        message,
        ..
    } = error
    else {
        return None;
    };
    Some(ServerAnswer {
        status: *status,
        errcode: Some(errcode.clone()),
        retry_after: None,
        message: message.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(change: impl FnOnce(&mut State)) -> SeenRoom {
        let mut state = State {
            create: json!({"sender": "@alice:example.org", "content": {"room_version": "10"}}),
            power_levels: json!({"users": {"@alice:example.org": 100}}),
            join_rules: json!({"join_rule": "invite"}),
            name: json!({"name": "Hilltop"}),
            ..State::default()
        };
        change(&mut state);
        let id: OwnedRoomId = "!room:example.org".try_into().unwrap();
        let own: OwnedUserId = "@relay:example.org".try_into().unwrap();
        state.seen(<&RoomOrAliasId>::from(&*id), &id, &own)
    }

    #[test]
    fn a_room_is_told_as_its_state_says() {
        let seen = seen(|_| {});
        assert_eq!((&*seen.version, &*seen.join_rule), ("10", "invite"));
        let room = seen.room;
        assert!(room.may_write && room.may_react && !room.encrypted && !room.public);
        assert_eq!((room.name.as_str(), room.tombstone), ("Hilltop", None));
    }

    #[test]
    fn an_encrypted_room_is_judged_by_the_level_of_encrypted_messages() {
        let levels = json!({"events": {"m.room.encrypted": 50, "m.room.redaction": 50}});
        let seen = seen(|state| {
            state.power_levels = levels;
            state.encryption = json!({"algorithm": "m.megolm.v1.aes-sha2"});
            state.join_rules = json!({"join_rule": "public"});
        });
        let room = seen.room;
        assert!(room.encrypted && room.public && !room.may_write && !room.may_react);
    }

    #[test]
    fn a_creator_of_a_room_of_version_12_may_do_everything() {
        let levels = json!({"events_default": 100});
        for (version, may) in [("11", false), ("12", true)] {
            let seen = seen(|state| {
                state.create = json!({
                    "sender": "@alice:example.org",
                    "content": {"room_version": version, "additional_creators": ["@relay:example.org"]},
                });
                state.power_levels = levels.clone();
            });
            assert_eq!(seen.room.may_write, may, "{version}");
        }
    }

    #[test]
    fn a_state_that_makes_no_sense_is_no_panic() {
        let seen = seen(|state| {
            state.create = json!([1]);
            state.power_levels = json!({"users": 7});
            state.join_rules = json!("x");
            state.tombstone = json!({"body": "", "replacement_room": "!room:example.org"});
        });
        assert_eq!((&*seen.version, &*seen.join_rule), ("1", "invite"));
        assert_eq!(seen.room.tombstone, Some(Tombstone { successor: None }));
    }
}
