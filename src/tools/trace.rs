//! `relay trace`: asks the running daemon for the story of a message, or reads it from the database; and its lines for people.

use std::fmt::Write as _;

use super::{control, database_of, printable};
use crate::daemon::trace::{About, Trace, TracedStory, TracedWay, trace};
use crate::home::Home;
use control::ControlError;
use relay_config::Config;
use relay_model::Explained;
use relay_store::StoreError;

/// Why no story can be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TraceError {
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("the database cannot be read")]
    Database(#[source] StoreError),
}

impl Explained for TraceError {
    fn hint(&self) -> Option<String> {
        match self {
            Self::Control(error) => error.hint(),
            Self::Database(error) => error.hint(),
        }
    }
}

/// Looks up what is known of a message: through the daemon if one runs in this home, else in the database.
pub(crate) async fn look_up(
    home: &Home,
    config: &Config,
    about: About,
) -> Result<Trace, TraceError> {
    match control::trace(home, about.clone()).await {
        Err(ControlError::NotRunning { .. }) => {}
        answered => return Ok(answered?),
    }
    let nothing = Trace {
        about: about.to_string(),
        stories: Vec::new(),
    };
    let found = relay_store::read_only(&database_of(home, config), |tx| trace(tx, &about));
    Ok(found.map_err(TraceError::Database)?.unwrap_or(nothing))
}

/// Returns a story in lines; the messages that are meant perhaps, if there are several.
pub(crate) fn lines(trace: &Trace) -> String {
    match trace.stories.as_slice() {
        [] => format!(
            "nothing is known of {}: it has no story, or it is older than `database.keep_days`\n",
            printable(&trace.about)
        ),
        [story] => of(story),
        several => {
            let mut page = format!("{} is the id of several messages:\n", trace.about);
            for story in several {
                let first = story.steps.first();
                let at = first.map(|it| it.at.as_str()).unwrap_or_default();
                let _ = writeln!(page, "  {at}  {}", heading(story));
            }
            page.push_str("hint: run `relay trace NAME` with one of these names\n");
            page
        }
    }
}

fn heading(story: &TracedStory) -> String {
    let name = printable(&story.name);
    match story.way {
        TracedWay::ToMesh => {
            let room = story.room.as_deref().map_or_else(
                || "a room".to_owned(),
                |room| format!("room {}", printable(room)),
            );
            match story.channel {
                Some(channel) => format!("{name}, from {room} to channel {channel} of the mesh"),
                None => format!("{name}, from {room}"),
            }
        }
        TracedWay::ToMatrix => format!("{name}, a packet of the mesh"),
    }
}

fn of(story: &TracedStory) -> String {
    let mut page = heading(story);
    page.push('\n');
    for step in &story.steps {
        let text = printable(&step.text);
        let _ = writeln!(
            page,
            "  {}  {:<8}  {text}",
            step.at,
            step.evidence.to_string()
        );
    }
    for wait in &story.waits {
        let expires = wait.expires.as_ref();
        let expires = expires.map_or_else(String::new, |at| format!(", until {at}"));
        let _ = writeln!(page, "  now: {}{expires}", printable(&wait.text));
    }
    page
}
