//! `relay matrix send`.

use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Args;

use super::{RoomArgs, Way};
use crate::cli::failure::{CommandResult, Failure};
use crate::cli::output::print;
use crate::cli::progress;
use crate::tools::pictures;
use relay_matrix::hand::{Attachment, Done, Message, Operation, Relation, too_large};
use relay_model::OwnedEventId;

/// Maximum length of a text in bytes: an event has at most 64 KiB.
const LONGEST: u64 = 60 * 1024;

#[derive(Debug, Args)]
pub(in crate::cli) struct SendArgs {
    #[command(flatten)]
    room: RoomArgs,
    /// A file to send before the text; may be given several times
    #[arg(long, value_name = "FILE")]
    file: Vec<PathBuf>,
    /// Send a notice, which bots write and which rings nobody
    #[arg(long)]
    notice: bool,
    /// The text is HTML
    #[arg(long)]
    html: bool,
    /// Answer that event
    #[arg(long, value_name = "EVENT", group = "relation")]
    reply_to: Option<OwnedEventId>,
    /// Write in the thread that begins with that event
    #[arg(long, value_name = "EVENT", group = "relation")]
    thread: Option<OwnedEventId>,
    /// Replace the text of that event
    #[arg(
        long,
        value_name = "EVENT",
        group = "relation",
        conflicts_with = "file"
    )]
    edit: Option<OwnedEventId>,
    /// The text; `-`, or none and no file, reads it from standard input
    message: Option<String>,
}

pub(super) async fn run(way: &Way<'_>, args: SendArgs) -> CommandResult {
    let relation = match (args.reply_to, args.thread, args.edit) {
        (Some(event), _, _) => Relation::Reply(event),
        (_, Some(event), _) => Relation::Thread(event),
        (_, _, Some(event)) => Relation::Edit(event),
        (None, None, None) => Relation::None,
    };
    let text = match args.message {
        Some(text) if text != "-" => Some(text),
        None if !args.file.is_empty() => None,
        Some(_) | None => Some(standard_input()?),
    };
    if text.as_ref().is_some_and(|it| it.trim().is_empty()) {
        return Err(anyhow!("there is no text to send").into());
    }
    if text
        .as_ref()
        .is_some_and(|it| u64::try_from(it.len()).is_ok_and(|it| it > LONGEST))
    {
        return Err(anyhow!("the text is longer than {LONGEST} bytes: send it as a file").into());
    }
    for path in &args.file {
        Box::pin(upload(way, path, &args.room.room, &relation)).await?;
    }
    if let Some(text) = text {
        let message = Message {
            room: args.room.room,
            text,
            notice: args.notice,
            html: args.html,
            relation,
        };
        say(&way.perform(Operation::Send(Box::new(message))).await?)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn standard_input() -> Result<String, Failure> {
    if io::stdin().is_terminal() {
        progress::clear();
    }
    let mut text = String::new();
    let mut input = io::stdin().lock().take(LONGEST + 1);
    input
        .read_to_string(&mut text)
        .context("cannot read standard input")?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}

fn say(done: &Done) -> anyhow::Result<()> {
    match done {
        Done::Event(event) => print(&format!("{event}\n")),
        _ => Err(anyhow!("the relay gave another answer")),
    }
}

/// Sends a file. It is opened here: a relay that runs may not be allowed to.
async fn upload(
    way: &Way<'_>,
    path: &Path,
    room: &str,
    relation: &Relation,
) -> Result<(), Failure> {
    let shown = path.display();
    let facts = std::fs::metadata(path).with_context(|| format!("cannot read `{shown}`"))?;
    if !facts.is_file() {
        return Err(anyhow!("`{shown}` is no file").into());
    }
    let name = path
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    if let Done::Limit(limit) = way.perform(Operation::Limit).await?
        && facts.len() > limit
    {
        return Err(too_large(&name, facts.len(), limit).into());
    }
    let mut bytes = std::fs::read(path).with_context(|| format!("cannot read `{shown}`"))?;
    let mime = pictures::mime_of(&name);
    let picture = if mime.starts_with("image/") {
        pictures::look(&bytes)
    } else {
        pictures::Picture::default()
    };
    let size = u64::try_from(bytes.len()).context("it is too large")?;
    let thumbnail = picture.small.map(|(thumbnail, small)| {
        bytes.extend(small);
        thumbnail
    });
    let attachment = Attachment {
        room: room.to_owned(),
        name: name.clone(),
        mime,
        size,
        dimensions: picture.dimensions,
        thumbnail,
        relation: relation.clone(),
    };
    let operation = Operation::Upload(Box::new(attachment));
    let sending = Box::pin(way.upload(operation, bytes.as_slice()));
    let what = format!("sending {name}, {size} bytes");
    say(&progress::of(crate::tools::printable(&what), sending).await?)?;
    Ok(())
}
