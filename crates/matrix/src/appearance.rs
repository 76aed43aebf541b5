//! The bot's name and picture, everywhere and in single rooms, as configured. What is as it should be is left alone, and what
//! is not configured too.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::convert::Infallible;
use std::error::Error as StdError;
use std::fs::File;
use std::future::pending;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use matrix_sdk::config::RequestConfig;
use matrix_sdk::deserialized_responses::RawAnySyncOrStrippedState;
use matrix_sdk::media::{MediaFormat, MediaRequestParameters};
use matrix_sdk::ruma::api::client::media::create_content;
use matrix_sdk::ruma::events::StateEventType;
use matrix_sdk::ruma::events::room::MediaSource;
use matrix_sdk::ruma::{MxcUri, OwnedMxcUri};
use matrix_sdk::{Error, Room};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info, warn};

use super::errors::{ServerAnswer, http, outcome, retry_after, sentence};
use super::rooms::{Rooms, tombstone};
use relay_config::{Appearance, Config};
use relay_model::{Backoff, Explained, OwnedRoomId, OwnedRoomOrAliasId, RoomId, RoomOutcome};

/// Maximum size of a picture in bytes.
const LARGEST: u64 = 1024 * 1024;
/// Maximum number of changes in one room in that time: somebody else may set another name again and again.
const MOST_CHANGES: u32 = 5;
const CHANGES_WITHIN: Duration = Duration::from_hours(1);
/// Time that the homeserver is given to carry a new name or picture of the account into its rooms.
const CARRIED_WITHIN: Duration = Duration::from_secs(2);
/// Maximum time until a change that was accepted comes back in the sync.
const BACK_WITHIN: Duration = Duration::from_secs(10);
/// Maximum time to upload a picture.
const UPLOADED_WITHIN: Duration = Duration::from_mins(2);
/// Pause between an answer of the sync and a look at the rooms, as answers come in bursts.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSES: Backoff = Backoff::new(Duration::from_secs(5), Duration::from_mins(5));

/// How the bot is to show itself; paths are complete.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// In every room that has nothing else.
    pub everywhere: Appearance,
    /// In single rooms, by their configured names.
    pub rooms: HashMap<OwnedRoomOrAliasId, Appearance>,
}

/// Why the bot does not show itself as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotShown {
    /// The file cannot be used as a picture; the reason.
    #[error("the picture `{0}` cannot be used: {1}")]
    Picture(PathBuf, String),
    /// The homeserver does not take the name or picture; its words.
    #[error("the homeserver does not take the bot's name or picture: {0}")]
    Refused(String),
    /// The same for one room.
    #[error("the homeserver does not take the bot's name or picture in {0}: {1}")]
    RefusedThere(OwnedRoomId, String),
    /// Somebody changes it in this room again and again.
    #[error("the bot's name or picture in {0} is changed again and again by somebody else")]
    Contested(OwnedRoomId),
}

impl Explained for NotShown {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Picture(..) => {
                "give a PNG, JPEG, GIF or WebP file of at most 1 MiB, with its path from the home directory on"
            }
            Self::Refused(_) | Self::RefusedThere(..) => {
                "its words say why; without `display_name` and `avatar` in the configuration the bot keeps what it has"
            }
            Self::Contested(_) => "look which other program or person uses the bot's account",
        };
        Some(hint.to_owned())
    }
}

impl Shown {
    /// Returns what a configuration wants; `complete` completes the paths of pictures.
    pub fn wanted(config: &Config, complete: impl Fn(&Path) -> PathBuf) -> Self {
        let complete = |appearance: Appearance| Appearance {
            avatar: appearance.avatar.map(|it| complete(&it)),
            ..appearance
        };
        let mut rooms: HashMap<_, Appearance> = HashMap::new();
        for mapped in &config.matrix_rooms {
            let appearance = complete(mapped.appearance.clone());
            if appearance != Appearance::default() {
                // Of a room with several channels each may set a part of it.
                let shown = rooms.entry(mapped.id.clone()).or_default();
                *shown = shown.or(&appearance);
            }
        }
        Self {
            everywhere: complete(config.matrix.appearance()),
            rooms,
        }
    }

    /// Reads each picture. Returns its path, and why it cannot be used.
    pub fn pictures(&self) -> BTreeMap<&Path, Option<NotShown>> {
        let all = self.rooms.values().chain([&self.everywhere]);
        let paths = all.filter_map(|it| it.avatar.as_deref());
        paths
            .map(|path| {
                let trouble = read(path).err();
                (
                    path,
                    trouble.map(|why| NotShown::Picture(path.to_owned(), why)),
                )
            })
            .collect()
    }

    /// Returns what is wanted in the room of these configured names.
    fn of(&self, names: &[OwnedRoomOrAliasId]) -> Appearance {
        let own = names.iter().find_map(|name| self.rooms.get(name));
        own.cloned().unwrap_or_default().or(&self.everywhere)
    }
}

/// Keeps the bot's name and picture as configured.
pub(super) async fn keep(rooms: &Rooms) -> Infallible {
    rooms.options.pulse.not_shown(None);
    if rooms.options.shown == Shown::default() {
        return pending().await;
    }
    rooms.caught_up.wait().await;
    let mut keeper = Keeper::new(rooms);
    let mut backoff = PAUSES;
    loop {
        match keeper.look().await {
            Ok(()) => {
                backoff.reset();
                rooms.seen.notified().await;
                sleep(PAUSE).await;
            }
            Err(error) => {
                debug!(
                    error = sentence(&error),
                    "the bot's name or picture cannot be set now, trying again"
                );
                let wish = retry_after(&error).unwrap_or_default();
                sleep(wish.max(backoff.grow(rand::random()))).await;
            }
        }
    }
}

struct Keeper<'a> {
    rooms: &'a Rooms,
    is_account_done: bool,
    /// Where the homeserver has these files; `None`: they cannot be used.
    pictures: HashMap<PathBuf, Option<OwnedMxcUri>>,
    /// Number of changes of each room, and since when they are counted.
    changes: HashMap<OwnedRoomId, (u32, Instant)>,
    /// Rooms whose homeserver refused.
    given_up: HashSet<OwnedRoomId>,
}

impl<'a> Keeper<'a> {
    fn new(rooms: &'a Rooms) -> Self {
        Self {
            rooms,
            is_account_done: false,
            pictures: HashMap::new(),
            changes: HashMap::new(),
            given_up: HashSet::new(),
        }
    }

    /// Sets what is not as wanted. Fails with what may pass.
    async fn look(&mut self) -> Result<(), Error> {
        if !self.is_account_done {
            let changed = self.account().await?;
            self.is_account_done = true;
            if changed {
                // What it carries into a room is not ours to set there.
                sleep(CARRIED_WITHIN).await;
            }
        }
        for room in self.rooms.joined() {
            if tombstone(&room).is_none() && !self.given_up.contains(room.room_id()) {
                self.room(&room).await?;
            }
        }
        Ok(())
    }

    /// Sets the account's own name and picture. Returns whether one has changed.
    async fn account(&mut self) -> Result<bool, Error> {
        let Appearance {
            display_name,
            avatar,
        } = self.rooms.options.shown.everywhere.clone();
        let account = self.rooms.client.account();
        let mut changed = false;
        if let Some(name) = display_name {
            let before = account.get_display_name().await?;
            if before.as_deref() != Some(&name) {
                let set = account.set_display_name(Some(&name)).await;
                changed |= self.is_taken(set)?;
            }
        }
        if let Some(file) = avatar {
            let before = account.get_avatar_url().await?;
            let picture = self.picture(&file, before.as_deref()).await?;
            if picture.is_some() && picture != before {
                let set = account.set_avatar_url(picture.as_deref()).await;
                changed |= self.is_taken(set)?;
            }
        }
        if changed {
            info!("the bot's name or picture is set");
        }
        Ok(changed)
    }

    /// Sets name and picture in a room.
    async fn room(&mut self, room: &Room) -> Result<(), Error> {
        let id = room.room_id();
        let wanted = self.rooms.options.shown.of(&self.rooms.names_of(id));
        let Some(member) = self.member(room).await else {
            return Ok(());
        };
        let picture = match &wanted.avatar {
            Some(file) => {
                let before = member["avatar_url"].as_str().map(<&MxcUri>::from);
                self.picture(file, before).await?
            }
            None => None,
        };
        let Some(content) = changed(&member, wanted.display_name.as_deref(), picture.as_deref())
        else {
            self.not_contested(id);
            return Ok(());
        };
        if !self.may_change(id) {
            return Ok(());
        }
        let own = self.rooms.own.as_str();
        let set = room
            .send_state_event_raw("m.room.member", own, content.clone())
            .await;
        match set {
            Ok(_) => {
                info!(room = %id, "the bot's name or picture in this room is set");
                self.comes_back(room, &content).await;
                Ok(())
            }
            Err(error) => match refusal(&error) {
                Some(words) => {
                    self.given_up.insert(id.to_owned());
                    self.tell(NotShown::RefusedThere(id.to_owned(), words));
                    Ok(())
                }
                None => Err(error),
            },
        }
    }

    /// Counts a change of a room. Returns false if there were too many of them.
    fn may_change(&mut self, room: &RoomId) -> bool {
        let now = Instant::now();
        let (count, since) = self.changes.entry(room.to_owned()).or_insert((0, now));
        if now.duration_since(*since) > CHANGES_WITHIN {
            (*count, *since) = (0, now);
        }
        *count += 1;
        if *count > MOST_CHANGES {
            self.tell(NotShown::Contested(room.to_owned()));
            return false;
        }
        true
    }

    /// Ends what was told of a room in which name and picture are as wanted again.
    fn not_contested(&self, room: &RoomId) {
        let pulse = &self.rooms.options.pulse;
        let told = pulse.heard().not_shown;
        if matches!(told, Some(NotShown::Contested(there)) if there == room) {
            pulse.not_shown(None);
        }
    }

    /// Returns the content of the bot's own membership, which the sync always shows.
    async fn member(&self, room: &Room) -> Option<Value> {
        let own = self.rooms.own.as_str();
        let kind = StateEventType::RoomMember;
        let stored = room.get_state_event(kind, own).await.ok()??;
        let RawAnySyncOrStrippedState::Sync(event) = stored else {
            return None;
        };
        let content: Value = event.get_field("content").ok()??;
        (content["membership"] == "join").then_some(content)
    }

    /// Waits until the sync has brought a change back, so that it is not made twice.
    async fn comes_back(&self, room: &Room, content: &Value) {
        let back = async {
            loop {
                let member = self.member(room).await.unwrap_or_default();
                let is_same = |key| member[key] == content[key];
                if is_same("displayname") && is_same("avatar_url") {
                    return;
                }
                self.rooms.seen.notified().await;
            }
        };
        // Otherwise the next look sees what became of it.
        let _ = timeout(BACK_WITHIN, back).await;
    }

    /// Returns where the homeserver has a file: there where the bot shows the same one now, or else uploaded anew.
    async fn picture(
        &mut self,
        file: &Path,
        shown: Option<&MxcUri>,
    ) -> Result<Option<OwnedMxcUri>, Error> {
        if let Some(known) = self.pictures.get(file) {
            return Ok(known.clone());
        }
        let place = match read(file) {
            Ok((picture, kind)) => self.place_of(picture, kind, shown).await?,
            Err(why) => {
                self.tell(NotShown::Picture(file.to_owned(), why));
                None
            }
        };
        self.pictures.insert(file.to_owned(), place.clone());
        Ok(place)
    }

    async fn place_of(
        &self,
        picture: Vec<u8>,
        kind: &str,
        shown: Option<&MxcUri>,
    ) -> Result<Option<OwnedMxcUri>, Error> {
        let client = &self.rooms.client;
        if let Some(shown) = shown {
            let request = MediaRequestParameters {
                source: MediaSource::Plain(shown.to_owned()),
                format: MediaFormat::File,
            };
            match client.media().get_media_content(&request, false).await {
                Ok(there) if there == picture => return Ok(Some(shown.to_owned())),
                Err(error) if http(&error).is_some_and(|it| ServerAnswer::of(it).is_none()) => {
                    return Err(error);
                }
                // It is another one, or gone.
                Ok(_) | Err(_) => {}
            }
        }
        let mut request = create_content::v3::Request::new(picture);
        request.content_type = Some(kind.to_owned());
        // As every request it is tried again by `keep` alone.
        let config = RequestConfig::new()
            .disable_retry()
            .timeout(UPLOADED_WITHIN);
        let uploaded = client.send(request).with_request_config(config).await;
        match uploaded.map_err(Error::from) {
            Ok(uploaded) => Ok(Some(uploaded.content_uri)),
            Err(error) => self.is_taken(Err(error)).map(|_| None),
        }
    }

    /// Returns whether the homeserver has taken a change of the account; a refusal is told.
    fn is_taken(&self, set: Result<(), Error>) -> Result<bool, Error> {
        let Err(error) = set else {
            return Ok(true);
        };
        let words = refusal(&error).ok_or(error)?;
        self.tell(NotShown::Refused(words));
        Ok(false)
    }

    /// Tells once why the bot does not show itself as configured.
    fn tell(&self, why: NotShown) {
        if self.rooms.is_news(format!("not shown: {why}")) {
            warn!(
                error = &why as &dyn StdError,
                hint = why.hint(),
                "the bot does not show its name or picture as configured"
            );
        }
        self.rooms.options.pulse.not_shown(Some(why));
    }
}

/// Returns the homeserver's words if it will not change its mind.
fn refusal(error: &Error) -> Option<String> {
    match outcome(error) {
        RoomOutcome::Parked { error, .. } | RoomOutcome::Refused { error } => Some(error),
        RoomOutcome::Sent { .. } | RoomOutcome::Retry { .. } => None,
    }
}

/// Returns a membership with this name and picture; `None`: it has them. What else is in it stays.
fn changed(member: &Value, name: Option<&str>, picture: Option<&MxcUri>) -> Option<Value> {
    let mut content = member.clone();
    let picture = picture.map(MxcUri::as_str);
    for (key, wanted) in [("displayname", name), ("avatar_url", picture)] {
        if let Some(wanted) = wanted {
            content[key] = json!(wanted);
        }
    }
    if content == *member {
        return None;
    }
    // By whom a join of a restricted room was permitted, and why the bot joined: that holds for the join alone.
    for key in ["join_authorised_via_users_server", "reason"] {
        content.as_object_mut()?.remove(key);
    }
    Some(content)
}

/// Reads a picture. Returns it with its type; fails with the reason why it is none.
fn read(path: &Path) -> Result<(Vec<u8>, &'static str), String> {
    let told = |error: std::io::Error| error.to_string();
    let is_file = path.metadata().map_err(told)?.is_file();
    if !is_file {
        return Err("it is not a file".to_owned());
    }
    let mut picture = Vec::new();
    let file = File::open(path).map_err(told)?;
    file.take(LARGEST + 1)
        .read_to_end(&mut picture)
        .map_err(told)?;
    if picture.len() as u64 > LARGEST {
        return Err("it is larger than 1 MiB".to_owned());
    }
    match kind_of(&picture) {
        Some(kind) => Ok((picture, kind)),
        None => Err("it is not a PNG, JPEG, GIF or WebP picture".to_owned()),
    }
}

/// Returns the type of a picture by its first bytes.
fn kind_of(picture: &[u8]) -> Option<&'static str> {
    let is_webp = picture.starts_with(b"RIFF") && picture.get(8..12) == Some(b"WEBP");
    let begins: [(&[u8], _); 3] = [
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF8", "image/gif"),
    ];
    let known = begins.iter().find(|(begin, _)| picture.starts_with(begin));
    let kind = known.map(|(_, kind)| *kind);
    kind.or_else(|| is_webp.then_some("image/webp"))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use matrix_sdk::ruma::{mxc_uri, room_id};

    use super::*;
    use crate::scripted::Scripted;

    fn named(name: &str) -> Shown {
        let mut shown = Shown::default();
        shown.everywhere.display_name = Some(name.to_owned());
        shown
    }

    #[tokio::test]
    async fn a_homeserver_that_refuses_a_name_is_asked_once_and_one_that_is_away_again() {
        let answer = Arc::new(Mutex::new(Value::Null));
        let told = Arc::clone(&answer);
        let server = Scripted::start(move |line| {
            if line.starts_with("put") {
                told.lock().unwrap().clone()
            } else {
                json!({"displayname": "bot"})
            }
        });
        let server = server.await;
        let mut rooms = server.rooms();
        rooms.options.shown = named("Mesh");
        let mut keeper = Keeper::new(&rooms);
        assert!(keeper.look().await.is_err());
        assert_eq!(rooms.options.pulse.heard().not_shown, None);
        *answer.lock().unwrap() = json!({"errcode": "M_FORBIDDEN", "error": "names are fixed"});
        for _ in 0..3 {
            keeper.look().await.unwrap();
        }
        assert_eq!(server.count("put "), 2);
        let told = rooms.options.pulse.heard().not_shown;
        assert!(matches!(told, Some(NotShown::Refused(words)) if words.contains("are fixed")));
    }

    #[tokio::test]
    async fn a_name_that_somebody_else_changes_too_is_set_a_few_times_only() {
        let server = Scripted::start(|_| Value::Null).await;
        let rooms = server.rooms();
        let (mut keeper, room) = (Keeper::new(&rooms), room_id!("!room:example.org"));
        for _ in 0..MOST_CHANGES {
            assert!(keeper.may_change(room));
        }
        assert!(!keeper.may_change(room));
        let told = rooms.options.pulse.heard().not_shown;
        assert_eq!(told, Some(NotShown::Contested(room.to_owned())));
        keeper.not_contested(room);
        assert_eq!(rooms.options.pulse.heard().not_shown, None);
    }

    #[test]
    fn only_the_name_and_picture_of_a_membership_change_and_only_if_they_differ() {
        let member = json!({
            "membership": "join", "displayname": "bot", "org.example.colour": "red",
            "join_authorised_via_users_server": "@alice:example.org",
            "reason": "relay between a mesh and this room",
        });
        let picture = mxc_uri!("mxc://example.org/a");
        assert_eq!(changed(&member, None, None), None);
        assert_eq!(changed(&member, Some("bot"), None), None);
        assert_eq!(
            changed(&member, Some("Mesh"), Some(picture)),
            Some(json!({
                "membership": "join", "displayname": "Mesh", "org.example.colour": "red",
                "avatar_url": "mxc://example.org/a",
            }))
        );
    }

    #[test]
    fn a_room_shows_its_own_and_for_the_rest_what_all_rooms_show() {
        let appearance = |name: Option<&str>, avatar: Option<&str>| Appearance {
            display_name: name.map(str::to_owned),
            avatar: avatar.map(PathBuf::from),
        };
        let name: OwnedRoomOrAliasId = "#hiking:example.org".try_into().unwrap();
        let shown = Shown {
            everywhere: appearance(Some("Mesh"), Some("/mesh.png")),
            rooms: [(name.clone(), appearance(Some("Hiking"), None))].into(),
        };
        let own = appearance(Some("Hiking"), Some("/mesh.png"));
        assert_eq!(shown.of(&[name]), own);
        assert_eq!(shown.of(&[]), shown.everywhere);
    }

    #[test]
    fn a_picture_is_one_by_its_first_bytes_and_not_too_large() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("avatar.png");
        let written = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            read(&path).map(|(_, kind)| kind)
        };
        assert_eq!(written(b"\x89PNG\r\n\x1a\n..."), Ok("image/png"));
        assert_eq!(written(b"\xff\xd8\xff\xe0"), Ok("image/jpeg"));
        assert_eq!(written(b"RIFF....WEBPVP8 "), Ok("image/webp"));
        assert!(written(b"<svg/>").unwrap_err().contains("is not a PNG"));
        let large = [b"GIF89a".as_slice(), &vec![0; 1024 * 1024]].concat();
        assert!(written(&large).unwrap_err().contains("larger"));
        assert!(read(home.path()).unwrap_err().contains("not a file"));
    }
}
