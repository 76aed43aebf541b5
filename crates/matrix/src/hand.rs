//! What a person does with the account by hand (`relay matrix`), on the session of a running daemon or on one of its own. What
//! is sent so is a message of the account itself: it is not carried to the mesh.

mod listening;
mod message;
mod words;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use futures_util::future::BoxFuture;
use matrix_sdk::attachment::{
    AttachmentConfig, AttachmentInfo, BaseAudioInfo, BaseFileInfo, BaseImageInfo, BaseVideoInfo,
    Thumbnail as SdkThumbnail,
};
use matrix_sdk::room::reply::{EnforceThread, Reply};
use matrix_sdk::ruma::api::client::room::create_room::v3 as create_room;
use matrix_sdk::ruma::events::InitialStateEvent;
use matrix_sdk::ruma::events::reaction::ReactionEventContent;
use matrix_sdk::ruma::events::relation::Annotation;
use matrix_sdk::ruma::events::room::encryption::RoomEncryptionEventContent;
use matrix_sdk::ruma::events::room::member::MembershipState;
use matrix_sdk::ruma::events::room::message::{AddMentions, ReplyWithinThread};
use matrix_sdk::ruma::{
    OwnedEventId, OwnedRoomId, OwnedTransactionId, OwnedUserId, RoomAliasId, RoomId, RoomOrAliasId,
    TransactionId, UInt, UserId,
};
use matrix_sdk::{Client, Error, Room, RoomState};
use mime::Mime;
use tokio::time::sleep;

use super::files::Files;
use super::{MatrixError, client, errors, session::StoredSession, sync};
use relay_config::E2ee;
use relay_model::{Chain, Explained as _};

pub use self::words::{
    Attachment, DeviceRow, Done, HandError, Heard, InviteRow, Message, NewRoom, Operation,
    Relation, RoomRow, Thumbnail,
};

/// How often a request is made that the network loses; with the same transaction id, so that nothing is doubled.
const TRIES: u32 = 4;
/// Pause before another try.
const PAUSE: Duration = Duration::from_secs(2);
/// How long an idle sync is kept open by the server.
const LONG_POLL: Duration = Duration::from_secs(30);
/// Number of events of a room that a sync answer may hold.
const TIMELINE: u32 = 200;

type Outcome<T> = Result<T, HandError>;

/// The account, in the hand of a person.
#[derive(Debug, Clone)]
pub struct Hand {
    client: Client,
    e2ee: bool,
}

/// A session that was opened for the hand alone.
#[derive(Debug)]
pub struct OwnHand {
    /// What does the work.
    pub hand: Hand,
    session: StoredSession,
}

impl OwnHand {
    /// Opens the stored session, and asks the homeserver what is new. The caller holds the store lock.
    ///
    /// The store moves on with it; the daemon reads from its own position, so that it misses nothing.
    pub async fn open(files: &Files, e2ee: E2ee) -> Outcome<Self> {
        let restored = client::restore(files, e2ee.recipients, &Arc::default()).await;
        let (client, session, _) = restored.map_err(|error| HandError {
            error: Chain(&error).to_string(),
            cure: error.hint(),
        })?;
        let hand = Hand::new(client, e2ee);
        Ok(Self { hand, session })
    }

    /// Reads what is new, once.
    pub async fn catch_up(&self) -> Outcome<()> {
        let client = &self.hand.client;
        for attempt in 1.. {
            let settings = sync::settings(Duration::ZERO, TIMELINE);
            let Err(error) = Box::pin(client.sync_once(settings)).await else {
                break;
            };
            self.may_go_on(&error)?;
            if attempt >= TRIES || errors::is_answer(&error) {
                return Err(failed("the homeserver cannot be read", &error));
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// Keeps reading, for who listens; ends when the homeserver does not accept the login any more.
    pub async fn keep_reading(&self) -> Outcome<Infallible> {
        loop {
            let settings = sync::settings(LONG_POLL, TIMELINE);
            let Err(error) = Box::pin(self.hand.client.sync_once(settings)).await else {
                continue;
            };
            self.may_go_on(&error)?;
            sleep(PAUSE).await;
        }
    }

    fn may_go_on(&self, error: &Error) -> Outcome<()> {
        let Some(refusal) = errors::refused_login(error) else {
            return Ok(());
        };
        let MatrixError::SessionDead(refused) = self.session.refused(refusal) else {
            return Ok(());
        };
        Err(HandError {
            error: refused.to_string(),
            cure: refused.hint(),
        })
    }

    /// Closes the session's store, so that another process can open it.
    pub async fn close(self) {
        client::close(&self.hand.client).await;
    }
}

impl Hand {
    pub(super) fn new(client: Client, e2ee: E2ee) -> Self {
        Self {
            client,
            e2ee: e2ee.enabled,
        }
    }

    /// Returns the largest file that the homeserver takes, in bytes.
    pub async fn limit(&self) -> Outcome<u64> {
        let limit = self.client.load_or_fetch_max_upload_size().await;
        limit.map(Into::into).map_err(|error| {
            failed(
                "the homeserver does not say how large a file may be",
                &error,
            )
        })
    }

    /// Tells what is said in a room from now on, without end.
    pub async fn listen(&self, room: &str) -> Outcome<impl Stream<Item = Done> + Send + use<>> {
        let room = self.joined(room).await?;
        Ok(listening::listen(&self.client, room))
    }

    /// Carries an operation out; `bytes` are those of an upload.
    pub async fn perform(&self, operation: Operation, bytes: Vec<u8>) -> Outcome<Done> {
        match operation {
            Operation::Rooms => Ok(Done::Rooms(self.rooms().await)),
            Operation::Limit => self.limit().await.map(Done::Limit),
            Operation::Resolve { room } => self.id_of(&room).await.map(Done::Room),
            Operation::Send(message) => self.send(&message).await.map(Done::Event),
            Operation::Upload(attachment) => self.upload(*attachment, bytes).await.map(Done::Event),
            Operation::Invites => Ok(Done::Invites(self.invites().await)),
            Operation::Accept { room } => {
                let invited = self.invited(&room)?;
                let is_direct = invited.is_direct().await.unwrap_or(false);
                let done = invited.join().await;
                done.map_err(|error| failed(format!("cannot join {room}"), &error))?;
                if is_direct && let Ok(details) = invited.invite_details().await {
                    // Remembered as a direct room, if it can be.
                    let with = [details.inviter_id];
                    self.client.account().mark_as_dm(&room, &with).await.ok();
                }
                Ok(Done::Room(room))
            }
            Operation::Reject { room } => {
                let done = self.invited(&room)?.leave().await;
                done.map_err(|error| failed(format!("cannot reject {room}"), &error))?;
                Ok(Done::Room(room))
            }
            Operation::Join { room } => {
                let name = <&RoomOrAliasId>::try_from(room.as_str());
                let name = name.map_err(|_| no_name(&room))?;
                let joined = self.client.join_room_by_id_or_alias(name, &[]).await;
                let joined = joined.map_err(|error| failed(format!("cannot join {room}"), &error));
                Ok(Done::Room(joined?.room_id().to_owned()))
            }
            Operation::Leave { room } => {
                let left = self.known(&room).await?;
                let done = left.leave().await;
                done.map_err(|error| failed(format!("cannot leave {room}"), &error))?;
                Ok(Done::Room(left.room_id().to_owned()))
            }
            Operation::Invite { room, user } => {
                let to = self.known(&room).await?;
                let done = to.invite_user_by_id(&user).await;
                done.map_err(|error| failed(format!("cannot invite {user} to {room}"), &error))?;
                Ok(Done::Room(to.room_id().to_owned()))
            }
            Operation::Create(room) => self.create(*room).await.map(Done::Room),
            Operation::EnsureDm { user } => {
                let room = self.direct(&user).await?;
                Ok(Done::Room(room.room_id().to_owned()))
            }
            Operation::EnsureEncrypted { room } => {
                let it = self.joined(&room).await?;
                let failed = |error| failed(format!("cannot encrypt {room}"), &error);
                if !it
                    .latest_encryption_state()
                    .await
                    .map_err(failed)?
                    .is_encrypted()
                {
                    let content = RoomEncryptionEventContent::with_recommended_defaults();
                    it.send_state_event(content).await.map_err(failed)?;
                }
                Ok(Done::Room(it.room_id().to_owned()))
            }
            Operation::React { room, event, key } => self.react(&room, event, key).await,
            Operation::Redact {
                room,
                event,
                reason,
            } => {
                let it = self.joined(&room).await?;
                let (room, target, reason) = (&it, &event, reason.as_deref());
                let redacting = |transaction| -> BoxFuture<'_, _> {
                    Box::pin(async move {
                        let sent = room.redact(target, reason, Some(transaction)).await;
                        Ok(sent.map_err(Error::from)?.event_id)
                    })
                };
                let sent = again(redacting).await;
                let sent = sent.map_err(|error| failed(format!("cannot redact {event}"), &error));
                sent.map(Done::Event)
            }
            Operation::Devices => self.devices().await.map(Done::Devices),
            Operation::Listen { .. } => Err(HandError::new("listening has no single answer")),
        }
    }

    async fn rooms(&self) -> Vec<RoomRow> {
        let mut rows = Vec::new();
        for room in self.client.joined_rooms() {
            let canonical = room.canonical_alias().into_iter();
            let aliases = canonical.chain(room.alt_aliases());
            rows.push(RoomRow {
                id: room.room_id().to_owned(),
                name: name_of(&room).await,
                aliases: aliases.map(|it| it.to_string()).collect(),
                members: room.joined_members_count(),
                encrypted: (room.latest_encryption_state().await.ok())
                    .filter(|state| !state.is_unknown())
                    .map(|state| state.is_encrypted()),
                direct: room.is_direct().await.unwrap_or(false),
                channel: None,
            });
        }
        rows.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        rows
    }

    async fn invites(&self) -> Vec<InviteRow> {
        let mut rows = Vec::new();
        for room in self.client.invited_rooms() {
            // One that was answered elsewhere meanwhile.
            let Ok(details) = room.invite_details().await else {
                continue;
            };
            let at = details.invitee.event().timestamp();
            rows.push(InviteRow {
                id: room.room_id().to_owned(),
                name: name_of(&room).await,
                inviter: details.inviter_id,
                direct: room.is_direct().await.unwrap_or(false),
                members: room.joined_members_count(),
                at: at.map(i64::from),
            });
        }
        rows
    }

    async fn devices(&self) -> Outcome<Vec<DeviceRow>> {
        let answer = self.client.devices().await;
        let answer =
            answer.map_err(|error| failed("cannot list the devices", &Error::from(error)))?;
        let own = self.client.device_id();
        let rows = answer.devices.into_iter().map(|device| DeviceRow {
            own: own == Some(&*device.device_id),
            id: device.device_id.to_string(),
            name: device.display_name,
            seen: device.last_seen_ts.map(|it| it.get().into()),
        });
        Ok(rows.collect())
    }

    async fn send(&self, message: &Message) -> Outcome<OwnedEventId> {
        let room = self.writable(&message.room).await?;
        let content = message::content(message);
        let (to, content) = (&room, &content);
        let sending = |transaction: OwnedTransactionId| -> BoxFuture<'_, _> {
            Box::pin(async move {
                let sent = to.send_raw("m.room.message", content.clone());
                let sent = sent.with_transaction_id(&transaction).await?;
                Ok(sent.response.event_id)
            })
        };
        let sent = again(sending).await;
        sent.map_err(|error| failed(format!("cannot send to {}", message.room), &error))
    }

    async fn upload(&self, attachment: Attachment, mut bytes: Vec<u8>) -> Outcome<OwnedEventId> {
        let limit = self.limit().await?;
        if attachment.size > limit {
            return Err(too_large(&attachment.name, attachment.size, limit));
        }
        if u64::try_from(bytes.len()).ok() != Some(attachment.bytes()) {
            let error = format!("`{}` has changed while it was read", attachment.name);
            return Err(HandError::new(error));
        }
        let room = self.writable(&attachment.room).await?;
        let mime: Mime = attachment
            .mime
            .parse()
            .unwrap_or(mime::APPLICATION_OCTET_STREAM);
        let file_ends = usize::try_from(attachment.size).unwrap_or(usize::MAX);
        let small = bytes.split_off(file_ends.min(bytes.len()));
        let (to, head, kind, bytes, small) = (&room, &attachment, &mime, &bytes, &small);
        let sending = |transaction| -> BoxFuture<'_, _> {
            Box::pin(async move {
                let config = config(head, kind, small, transaction);
                let sent = to.send_attachment(&head.name, kind, bytes.clone(), config);
                Ok(sent.await?.event_id)
            })
        };
        let sent = again(sending).await;
        sent.map_err(|error| failed(format!("cannot send `{}`", attachment.name), &error))
    }

    async fn react(&self, room: &str, event: OwnedEventId, key: String) -> Outcome<Done> {
        let it = self.joined(room).await?;
        let content = ReactionEventContent::new(Annotation::new(event.clone(), key));
        let (to, content) = (&it, &content);
        let sending = |transaction: OwnedTransactionId| -> BoxFuture<'_, _> {
            Box::pin(async move {
                let sent = to.send(content.clone()).with_transaction_id(transaction);
                Ok(sent.await?.response.event_id)
            })
        };
        let sent = again(sending).await;
        let sent = sent.map_err(|error| failed(format!("cannot react to {event}"), &error));
        sent.map(Done::Event)
    }

    async fn create(&self, room: NewRoom) -> Outcome<OwnedRoomId> {
        let mut request = create_room::Request::new();
        request.preset = Some(create_room::RoomPreset::PrivateChat);
        (request.name, request.topic) = (room.name, room.topic);
        (request.room_alias_name, request.invite) = (room.alias, room.invite);
        if room.encrypted {
            let content = RoomEncryptionEventContent::with_recommended_defaults();
            let state = InitialStateEvent::with_empty_state_key(content).to_raw_any();
            request.initial_state.push(state);
        }
        let made = self.client.create_room(request).await;
        let made = made.map_err(|error| failed("cannot make a room", &error))?;
        Ok(made.room_id().to_owned())
    }

    /// Returns the direct room with a user, which is made if there is none.
    async fn direct(&self, user: &UserId) -> Outcome<Room> {
        if let Some(room) = self.direct_with(user).await {
            return Ok(room);
        }
        if !self.e2ee {
            return Err(no_encryption("the direct room would be encrypted"));
        }
        let made = self.client.create_dm(user).await;
        made.map_err(|error| failed(format!("cannot make a direct room with {user}"), &error))
    }

    /// Returns an encrypted direct room in which a user is, or to which he is invited.
    async fn direct_with(&self, user: &UserId) -> Option<Room> {
        let room = self.client.get_dm_room(user)?;
        let member = room.get_member(user).await.ok()??;
        let is_there = matches!(
            member.membership(),
            MembershipState::Join | MembershipState::Invite
        );
        let encryption = room.latest_encryption_state().await.ok()?;
        (is_there && encryption.is_encrypted()).then_some(room)
    }

    async fn id_of(&self, name: &str) -> Outcome<OwnedRoomId> {
        if let Ok(id) = <&RoomId>::try_from(name) {
            return Ok(id.to_owned());
        }
        if let Ok(alias) = <&RoomAliasId>::try_from(name) {
            let found = self.client.resolve_room_alias(alias).await;
            let found = found
                .map_err(|error| failed(format!("cannot find {name}"), &Error::from(error)))?;
            return Ok(found.room_id);
        }
        let user: OwnedUserId = name.try_into().map_err(|_| no_name(name))?;
        let room = self.direct_with(&user).await.ok_or_else(|| {
            let cure = format!("`relay matrix ensure-dm {user}` makes one");
            HandError::cured(format!("there is no direct room with {user}"), cure)
        })?;
        Ok(room.room_id().to_owned())
    }

    /// Returns a room that the account is in, or was invited to.
    async fn known(&self, name: &str) -> Outcome<Room> {
        let room = if let Ok(user) = <&UserId>::try_from(name) {
            self.direct(user).await?
        } else {
            let id = self.id_of(name).await?;
            self.client.get_room(&id).ok_or_else(|| not_in(name))?
        };
        match room.state() {
            RoomState::Joined | RoomState::Invited | RoomState::Knocked => Ok(room),
            RoomState::Left | RoomState::Banned => Err(not_in(name)),
        }
    }

    async fn joined(&self, name: &str) -> Outcome<Room> {
        let room = self.known(name).await?;
        if room.state() == RoomState::Joined {
            return Ok(room);
        }
        Err(HandError::cured(
            format!("the bot is invited to {name}, and is not in it"),
            format!(
                "accept the invite: `relay matrix invites accept --room '{}'`",
                room.room_id()
            ),
        ))
    }

    /// Returns a room that may be written to: never in clear where others encrypt.
    async fn writable(&self, name: &str) -> Outcome<Room> {
        let room = self.joined(name).await?;
        if !self.e2ee {
            let state = room.latest_encryption_state().await;
            let state =
                state.map_err(|error| failed(format!("cannot ask about {name}"), &error))?;
            if state.is_encrypted() {
                return Err(no_encryption(&format!("{name} is encrypted")));
            }
        }
        Ok(room)
    }

    fn invited(&self, id: &RoomId) -> Outcome<Room> {
        let room = self.client.get_room(id);
        let room = room.filter(|room| room.state() == RoomState::Invited);
        room.ok_or_else(|| {
            let cure = "`relay matrix invites` lists what there is";
            HandError::cured(format!("there is no invite to {id}"), cure)
        })
    }
}

/// Sends with one transaction id, again if the network failed.
async fn again<'a>(
    send: impl Fn(OwnedTransactionId) -> BoxFuture<'a, Result<OwnedEventId, Error>>,
) -> Result<OwnedEventId, Error> {
    let transaction = TransactionId::new();
    let mut tries = 1;
    loop {
        match send(transaction.clone()).await {
            Err(Error::Http(error)) if tries < TRIES => {
                let error = Error::Http(error);
                if errors::is_answer(&error) {
                    return Err(error);
                }
                tries += 1;
                sleep(errors::retry_after(&error).unwrap_or(PAUSE)).await;
            }
            outcome => return outcome,
        }
    }
}

fn config(
    attachment: &Attachment,
    mime: &Mime,
    small: &[u8],
    transaction: OwnedTransactionId,
) -> AttachmentConfig {
    let size = UInt::new(attachment.size);
    let (width, height) = match attachment.dimensions {
        Some((width, height)) => (Some(width.into()), Some(height.into())),
        None => (None, None),
    };
    let info = match mime.type_() {
        mime::IMAGE => AttachmentInfo::Image(BaseImageInfo {
            width,
            height,
            size,
            ..BaseImageInfo::default()
        }),
        mime::VIDEO => AttachmentInfo::Video(BaseVideoInfo {
            size,
            ..BaseVideoInfo::default()
        }),
        mime::AUDIO => AttachmentInfo::Audio(BaseAudioInfo {
            size,
            ..BaseAudioInfo::default()
        }),
        _ => AttachmentInfo::File(BaseFileInfo { size }),
    };
    let thumbnail = attachment.thumbnail.as_ref().map(|it| SdkThumbnail {
        data: small.to_vec(),
        content_type: it.mime.parse().unwrap_or(mime::IMAGE_JPEG),
        width: it.dimensions.0.into(),
        height: it.dimensions.1.into(),
        size: UInt::new(it.size).unwrap_or_default(),
    });
    let (event_id, enforce_thread) = match &attachment.relation {
        Relation::Reply(event) => (Some(event), EnforceThread::MaybeThreaded),
        Relation::Thread(root) => (Some(root), EnforceThread::Threaded(ReplyWithinThread::No)),
        Relation::None | Relation::Edit(_) => (None, EnforceThread::Unthreaded),
    };
    let reply = event_id.map(|event| Reply {
        event_id: event.clone(),
        enforce_thread,
        add_mentions: AddMentions::No,
    });
    let config = AttachmentConfig::new().info(info).thumbnail(thumbnail);
    config.reply(reply).txn_id(transaction)
}

async fn name_of(room: &Room) -> String {
    let name = room.display_name().await;
    name.map_or_else(|_| room.room_id().to_string(), |name| name.to_string())
}

fn failed(what: impl Into<String>, error: &Error) -> HandError {
    HandError::new(format!("{}: {}", what.into(), errors::sentence(error)))
}

/// A file that the homeserver would not take.
pub fn too_large(name: &str, size: u64, limit: u64) -> HandError {
    HandError::cured(
        format!("`{name}` has {size} bytes, and the homeserver takes at most {limit}"),
        "send a smaller file, or have the homeserver's administrator raise the limit",
    )
}

fn no_name(name: &str) -> HandError {
    HandError::cured(
        format!("`{name}` names no room"),
        "give an id (`!abc:example.org`), an alias (`#hill:example.org`) or a user (`@alice:example.org`)",
    )
}

fn not_in(name: &str) -> HandError {
    HandError::cured(
        format!("the bot is not in {name}"),
        format!(
            "`relay matrix join --room '{name}'` joins it, if it may be joined; `relay matrix rooms` lists where it is"
        ),
    )
}

fn no_encryption(what: &str) -> HandError {
    HandError::cured(
        format!("{what}, and `matrix.e2ee.enabled` is false"),
        "set it to true",
    )
}
