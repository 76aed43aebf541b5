//! `relay matrix`: the account by hand, through a running relay or without one.

mod sending;
mod showing;
mod way;

use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use tokio_util::sync::CancellationToken;

use super::failure::{CommandResult, Failure};
use super::output::{as_json, print, remark};
use super::{Globals, interruptible};
use relay_config::Config;
use relay_matrix::hand::{Done, NewRoom, Operation, RoomRow};
use relay_model::{OwnedEventId, OwnedRoomId, OwnedUserId};

use self::sending::SendArgs;
use self::way::Way;

/// The commands under `relay matrix`.
#[derive(Debug, Subcommand)]
pub(super) enum MatrixCommand {
    /// List the rooms that the bot is in
    #[command(after_help = "Example: relay matrix rooms --json")]
    Rooms {
        /// One JSON array instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Send a text or files as the bot; nothing of it is carried to the mesh. Prints the id of each event
    #[command(
        after_help = "Examples:\n  relay matrix send --room '#hill:example.org' 'back at six'\n  \
                      df -h | relay matrix send --room @alice:example.org --notice -\n  \
                      relay matrix send --room '#hill:example.org' --file map.png"
    )]
    Send(SendArgs),
    /// Print what is said in a room from now on, until it is interrupted
    #[command(after_help = "Example: relay matrix listen --room '#hill:example.org' --json")]
    Listen {
        #[command(flatten)]
        room: RoomArgs,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// List invites, accept one, or reject one
    #[command(
        after_help = "Examples:\n  relay matrix invites\n  relay matrix invites accept --room '!abc:example.org'"
    )]
    Invites {
        #[command(subcommand)]
        command: Option<InvitesCommand>,
        /// One JSON array instead of lines
        #[arg(long)]
        json: bool,
    },
    /// Join a room
    #[command(after_help = "Example: relay matrix join --room '#hill:example.org'")]
    Join(RoomArgs),
    /// Leave a room; not one that is mapped
    #[command(after_help = "Example: relay matrix leave --room '#hill:example.org'")]
    Leave(RoomArgs),
    /// Invite a user to a room
    #[command(
        after_help = "Example: relay matrix invite --room '#hill:example.org' @alice:example.org"
    )]
    Invite {
        #[command(flatten)]
        room: RoomArgs,
        /// Who is invited
        user: OwnedUserId,
    },
    /// Make a private room, and print its id
    #[command(
        after_help = "Example: relay matrix create --name Hilltop --encrypted --invite @alice:example.org"
    )]
    Create {
        /// Its name
        #[arg(long)]
        name: Option<String>,
        /// Its topic
        #[arg(long)]
        topic: Option<String>,
        /// The local part of its alias: `hill` for `#hill:example.org`
        #[arg(long)]
        alias: Option<String>,
        /// Who is invited; may be given several times
        #[arg(long, value_name = "USER")]
        invite: Vec<OwnedUserId>,
        /// Encrypt it from its first event on
        #[arg(long)]
        encrypted: bool,
    },
    /// Find the direct room with a user, or make it, encrypted; print its id
    #[command(after_help = "Example: relay matrix ensure-dm @alice:example.org")]
    EnsureDm {
        /// Who
        user: OwnedUserId,
    },
    /// Switch the encryption of a room on, unless it is; for good
    #[command(after_help = "Example: relay matrix ensure-encrypted --room '#hill:example.org'")]
    EnsureEncrypted(RoomArgs),
    /// React to an event
    #[command(after_help = "Example: relay matrix react --room '#hill:example.org' '$event' +1")]
    React {
        #[command(flatten)]
        room: RoomArgs,
        /// The event's id
        event: OwnedEventId,
        /// With what, mostly an emoji
        key: String,
    },
    /// Redact an event
    #[command(after_help = "Example: relay matrix redact --room '#hill:example.org' '$event'")]
    Redact {
        #[command(flatten)]
        room: RoomArgs,
        /// The event's id
        event: OwnedEventId,
        /// Why, for people
        #[arg(long)]
        reason: Option<String>,
    },
    /// Print the id of the room that an alias, or a user, stands for
    #[command(after_help = "Example: relay matrix resolve '#hill:example.org'")]
    Resolve {
        /// An alias, or a user for the direct room
        room: String,
    },
    /// List the devices of the bot's account
    #[command(after_help = "Example: relay matrix devices --json")]
    Devices {
        /// One JSON array instead of lines
        #[arg(long)]
        json: bool,
    },
}

/// The room that a command is about.
#[derive(Debug, Args)]
pub(super) struct RoomArgs {
    /// The room: its id, an alias, or a user for the direct room
    #[arg(long, value_name = "ROOM")]
    room: String,
}

/// What is done about invites.
#[derive(Debug, Subcommand)]
pub(super) enum InvitesCommand {
    /// List them, with who invites
    #[command(after_help = "Example: relay matrix invites list")]
    List,
    /// Accept one
    #[command(after_help = "Example: relay matrix invites accept --room '!abc:example.org'")]
    Accept {
        /// The room's id
        #[arg(long, value_name = "ROOM")]
        room: OwnedRoomId,
    },
    /// Reject one
    #[command(after_help = "Example: relay matrix invites reject --room '!abc:example.org'")]
    Reject {
        /// The room's id
        #[arg(long, value_name = "ROOM")]
        room: OwnedRoomId,
    },
}

pub(super) async fn run(command: MatrixCommand, globals: &Globals) -> CommandResult {
    let home = globals.home()?;
    let config = globals.load_config(&home).ok().map(|it| it.config);
    let stop = CancellationToken::new();
    let work = Box::pin(async {
        let way = Way::open(globals, &home, config.as_ref()).await?;
        let done = stop.run_until_cancelled(Box::pin(with(&way, command, config.as_ref())));
        let done = done.await;
        way.close().await;
        // Asked to end: for who listens, that is the way to do it.
        done.unwrap_or(Ok(ExitCode::SUCCESS))
    });
    interruptible(&stop, work).await?
}

async fn with(way: &Way<'_>, command: MatrixCommand, config: Option<&Config>) -> CommandResult {
    let mut as_lines = None;
    let operation = match command {
        MatrixCommand::Send(args) => return Box::pin(sending::run(way, args)).await,
        MatrixCommand::Listen { room, json } => return listen(way, room.room, json).await,
        MatrixCommand::Rooms { json } => {
            as_lines = Some(json);
            Operation::Rooms
        }
        MatrixCommand::Devices { json } => {
            as_lines = Some(json);
            Operation::Devices
        }
        MatrixCommand::Invites { command, json } => match command {
            None | Some(InvitesCommand::List) => {
                as_lines = Some(json);
                Operation::Invites
            }
            Some(InvitesCommand::Accept { room }) => Operation::Accept { room },
            Some(InvitesCommand::Reject { room }) => Operation::Reject { room },
        },
        MatrixCommand::Join(RoomArgs { room }) => Operation::Join { room },
        MatrixCommand::Leave(RoomArgs { room }) => {
            may_leave(way, &room, config).await?;
            Operation::Leave { room }
        }
        MatrixCommand::Invite { room, user } => Operation::Invite {
            room: room.room,
            user,
        },
        MatrixCommand::Create {
            name,
            topic,
            alias,
            invite,
            encrypted,
        } => Operation::Create(Box::new(NewRoom {
            name,
            topic,
            alias,
            invite,
            encrypted,
        })),
        MatrixCommand::EnsureDm { user } => Operation::EnsureDm { user },
        MatrixCommand::EnsureEncrypted(RoomArgs { room }) => Operation::EnsureEncrypted { room },
        MatrixCommand::React { room, event, key } => Operation::React {
            room: room.room,
            event,
            key,
        },
        MatrixCommand::Redact {
            room,
            event,
            reason,
        } => Operation::Redact {
            room: room.room,
            event,
            reason,
        },
        MatrixCommand::Resolve { room } => Operation::Resolve { room },
    };
    let json = as_lines.unwrap_or(false);
    match way.perform(operation).await? {
        Done::Rooms(mut rooms) => {
            note_channels(way, &mut rooms, config).await;
            tell(json, &rooms, showing::rooms(&rooms))?;
        }
        Done::Invites(invites) => tell(json, &invites, showing::invites(&invites))?,
        Done::Devices(devices) => tell(json, &devices, showing::devices(&devices))?,
        Done::Room(id) => print(&format!("{id}\n"))?,
        Done::Event(id) => print(&format!("{id}\n"))?,
        Done::Limit(bytes) => print(&format!("{bytes}\n"))?,
        Done::Heard(_) | Done::Missed(_) | Done::Listening => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn tell(json: bool, value: &impl serde::Serialize, lines: String) -> anyhow::Result<()> {
    print(&if json { as_json(value)? } else { lines })
}

async fn listen(way: &Way<'_>, room: String, json: bool) -> CommandResult {
    let told = |done: Done| match done {
        Done::Heard(heard) if json => {
            let line = serde_json::to_string(&heard).context("cannot be told as JSON")?;
            print(&format!("{}\n", crate::tools::escaped(&line)))
        }
        Done::Heard(heard) => print(&showing::heard(&heard)),
        Done::Missed(answers) => {
            remark(&format!(
                "warning: something was missed here: {answers} answers of the homeserver came faster than they were read"
            ));
            Ok(())
        }
        Done::Listening => {
            remark("listening; Ctrl-C ends it");
            Ok(())
        }
        _ => Ok(()),
    };
    way.listen(room, told).await?;
    Ok(ExitCode::SUCCESS)
}

/// Notes the channels of the rooms that are mapped, by id or by an alias.
async fn note_channels(way: &Way<'_>, rooms: &mut [RoomRow], config: Option<&Config>) {
    for mapped in config.iter().flat_map(|it| &it.matrix_rooms) {
        let name = mapped.id.as_str();
        let mut found = (rooms.iter())
            .position(|row| row.id == name || row.aliases.iter().any(|it| it == name));
        if found.is_none() && name.starts_with('#') {
            let room = name.to_owned();
            let resolved = way.perform(Operation::Resolve { room }).await;
            if let Ok(Done::Room(id)) = resolved {
                found = rooms.iter().position(|row| row.id == id);
            }
        }
        if let Some(row) = found.and_then(|at| rooms.get_mut(at)) {
            let channel = mapped.meshtastic_channel.to_string();
            row.channel = Some(match row.channel.take() {
                Some(others) => format!("{others}, {channel}"),
                None => channel,
            });
        }
    }
}

/// The relay would join a mapped room again at once.
async fn may_leave(way: &Way<'_>, room: &str, config: Option<&Config>) -> Result<(), Failure> {
    let Done::Rooms(mut rooms) = way.perform(Operation::Rooms).await? else {
        return Ok(());
    };
    note_channels(way, &mut rooms, config).await;
    let room = room.to_owned();
    let Done::Room(id) = way
        .perform(Operation::Resolve { room: room.clone() })
        .await?
    else {
        return Ok(());
    };
    if rooms
        .iter()
        .any(|row| row.id == id && row.channel.is_some())
    {
        let text = format!("error: {room} is mapped to a channel of the mesh");
        let cure =
            "take it out of `matrix_rooms` first, and have the relay read its configuration again";
        return Err(Failure::wrong(text).and_hint(cure));
    }
    Ok(())
}
