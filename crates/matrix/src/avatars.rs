//! Pictures of nodes, in the colour in which Meshtastic's apps show them: made and uploaded when a message first wants one. No
//! message waits for its picture: that of a new node has none.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::future::pending;
use std::io::Cursor;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use matrix_sdk::ruma::api::client::media::create_content;
use matrix_sdk::{Client, Error};
use png::{BitDepth, ColorType, Encoder, EncodingError};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};
use tracing::{debug, warn};

use super::errors::{outcome, retry_after, sentence};
use relay_model::{
    AvatarPlace, Backoff, MatrixEvent, NodeAvatar, NodeNum, RoomContent, RoomOutcome, UserId,
};

/// Maximum number of pictures: a hostile mesh can invent any number of nodes. Further nodes have none until old rows are
/// forgotten.
const MOST: usize = 2_000;
/// Maximum number of pictures that wait to be uploaded; others are asked for again with the node's next message.
const MOST_WANTED: usize = 100;
/// Minimum time between two uploads, so that messages are not delayed by a rate limit.
const PAUSE: Duration = Duration::from_secs(2);
const PAUSES: Backoff = Backoff::new(Duration::from_secs(30), Duration::from_hours(1));
/// Maximum time of an upload.
const LIMIT: Duration = Duration::from_mins(1);

/// Which picture: whose, and whether for encrypted rooms.
type Key = (NodeNum, bool);

/// The pictures of nodes, as far as uploaded.
#[derive(Debug, Default)]
pub(super) struct Avatars {
    /// Never held across an await.
    known: Mutex<Known>,
    /// A picture is wanted.
    wanted: Notify,
}

#[derive(Debug, Default)]
struct Known {
    places: HashMap<Key, AvatarPlace>,
    wanted: VecDeque<Key>,
    /// Uploaded, and not handed over yet.
    uploaded: Vec<MatrixEvent>,
    /// The homeserver takes none.
    refused: bool,
}

impl Avatars {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Restores the pictures that earlier runs have uploaded.
    pub(super) fn remember(&self, stored: &[NodeAvatar]) {
        let places = stored.iter().map(|it| (key_of(it), it.place.clone()));
        self.known().places.extend(places);
    }

    /// Records that the first of the wanted pictures is uploaded.
    fn uploaded(&self, avatar: NodeAvatar) {
        let mut known = self.known();
        known.wanted.pop_front();
        known.places.insert(key_of(&avatar), avatar.place.clone());
        known.uploaded.push(MatrixEvent::Avatar(Box::new(avatar)));
    }

    /// Returns the picture for a message to a room, if it is to have one and it is uploaded.
    pub(super) fn for_message(
        &self,
        content: &RoomContent,
        encrypted: bool,
    ) -> Option<AvatarPlace> {
        match content {
            RoomContent::Text {
                profile: Some(profile),
                ..
            } if profile.avatar => self.of(profile.node, encrypted),
            _ => None,
        }
    }

    /// Returns a node's picture; where there is none yet, it is to be uploaded.
    fn of(&self, node: NodeNum, encrypted: bool) -> Option<AvatarPlace> {
        let key = (node, encrypted);
        let mut known = self.known();
        let place = known.places.get(&key).cloned();
        let is_new = place.is_none() && !known.refused && !known.wanted.contains(&key);
        if is_new && known.places.len() < MOST && known.wanted.len() < MOST_WANTED {
            known.wanted.push_back(key);
            self.wanted.notify_one();
        }
        place
    }

    /// Takes what was uploaded since the last call, to be stored.
    pub(super) fn take_uploaded(&self) -> Vec<MatrixEvent> {
        std::mem::take(&mut self.known().uploaded)
    }
}

fn key_of(avatar: &NodeAvatar) -> Key {
    let encrypted = matches!(avatar.place, AvatarPlace::Encrypted(_));
    (avatar.node, encrypted)
}

/// Uploads the wanted pictures for an account, one after the other, unless the homeserver refuses them. Notifies `changed` of
/// each, so that the sync loop hands it over.
pub(super) async fn upload_wanted(
    avatars: &Avatars,
    client: &Client,
    own: &UserId,
    changed: &Notify,
) -> Infallible {
    let mut backoff = PAUSES;
    loop {
        let next = avatars.known().wanted.front().copied();
        let Some((node, encrypted)) = next else {
            avatars.wanted.notified().await;
            continue;
        };
        let uploaded = timeout(LIMIT, upload(client, node, encrypted)).await;
        let error = match uploaded {
            Ok(Ok(place)) => {
                backoff.reset();
                avatars.uploaded(NodeAvatar {
                    account: own.to_owned(),
                    node,
                    place,
                });
                debug!(%node, encrypted, "the picture of a node is uploaded");
                changed.notify_one();
                sleep(PAUSE).await;
                continue;
            }
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        let why = error.as_ref().map(|it| sentence(it));
        let why = why.unwrap_or_else(|| "the homeserver took too long".to_owned());
        if let Some(RoomOutcome::Parked { .. } | RoomOutcome::Refused { .. }) =
            error.as_ref().map(outcome)
        {
            warn!(
                error = why,
                hint =
                    "set `matrix.per_message_profiles.avatars: false`, or let the bot upload files",
                "the homeserver does not take the pictures of nodes: messages go without them"
            );
            avatars.known().refused = true;
            return pending().await;
        }
        let pause = error.as_ref().and_then(retry_after).unwrap_or_default();
        let pause = pause.max(backoff.grow(rand::random()));
        debug!(%node, error = why, "the picture of a node cannot be uploaded now, trying again");
        sleep(pause).await;
    }
}

async fn upload(client: &Client, node: NodeNum, encrypted: bool) -> Result<AvatarPlace, Error> {
    let picture = picture(node).map_err(|error| Error::UnknownError(Box::new(error)))?;
    if encrypted {
        let mut picture = Cursor::new(picture);
        let file = client.upload_encrypted_file(&mut picture).await?;
        return Ok(AvatarPlace::Encrypted(serde_json::to_string(&file)?));
    }
    let mut request = create_content::v3::Request::new(picture);
    request.content_type = Some("image/png".to_owned());
    let uploaded = client.send(request).await?;
    Ok(AvatarPlace::Plain(uploaded.content_uri.into()))
}

/// Returns the picture of a node: a square in its colour, which is the lower three bytes of its number (as in Meshtastic's
/// apps). No name is in it: that stands beside it, and short names are often an emoji.
fn picture(node: NodeNum) -> Result<Vec<u8>, EncodingError> {
    const SIDE: u32 = 64;
    let [_, red, green, blue] = node.0.to_be_bytes();
    let mut png = Vec::new();
    let mut encoder = Encoder::new(&mut png, SIDE, SIDE);
    // A palette of one colour, 1 bit a pixel.
    encoder.set_color(ColorType::Indexed);
    encoder.set_depth(BitDepth::One);
    encoder.set_palette(vec![red, green, blue]);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&[0; (SIDE * SIDE / 8) as usize])?;
    writer.finish()?;
    Ok(png)
}

#[cfg(test)]
mod tests {
    use matrix_sdk::ruma::user_id;
    use serde_json::{Value, json};

    use super::*;
    use crate::scripted::Scripted;

    #[tokio::test]
    async fn a_homeserver_that_takes_no_pictures_is_asked_once() {
        let server = Scripted::start(|line| {
            if line.contains("/media/") {
                json!({"errcode": "M_FORBIDDEN", "error": "no uploads"})
            } else {
                Value::Null
            }
        })
        .await;
        let (avatars, changed) = (Avatars::default(), Notify::new());
        avatars.of(NodeNum(1), false);
        avatars.of(NodeNum(2), false);
        let refused = async {
            while !avatars.known().refused {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let own = user_id!("@bot:example.org");
        tokio::select! {
            never = upload_wanted(&avatars, &server.client, own, &changed) => match never {},
            () = refused => {}
        }
        assert_eq!(server.count("/media/"), 1);
        assert_eq!(avatars.of(NodeNum(3), false), None);
        assert_eq!(avatars.known().wanted.len(), 2);
    }

    #[test]
    fn a_picture_has_the_colour_of_its_node() {
        let png = picture(NodeNum(0xa1b2_c3d4)).unwrap();
        assert!(png.windows(7).any(|it| it == b"PLTE\xb2\xc3\xd4"));
        assert!(png.ends_with(b"IEND\xae\x42\x60\x82"));
        assert!(png.len() < 800);
    }

    #[test]
    fn each_picture_is_wanted_once_and_not_without_bound() {
        let avatars = Avatars::default();
        let wanted = |count: u32| {
            for node in 0..count {
                assert_eq!(avatars.of(NodeNum(node), node % 2 == 0), None);
            }
            avatars.known().wanted.len()
        };
        assert_eq!(wanted(2), 2);
        assert_eq!(wanted(2), 2);
        assert_eq!(wanted(1_000), MOST_WANTED);
        avatars.known().wanted.clear();
        let place = AvatarPlace::Plain("mxc://example.org/a".to_owned());
        let places = (0_u32..).map(|node| ((NodeNum(node), false), place.clone()));
        avatars.known().places.extend(places.take(MOST));
        assert_eq!(avatars.of(NodeNum(1), false), Some(place));
        assert_eq!(avatars.of(NodeNum(1), true), None);
        assert_eq!(avatars.known().wanted.len(), 0);
    }
}
