//! Rules for edits.

mod corrections;
mod effect;
mod notices;
mod waiting;

use super::*;
use crate::author_notice::{self, ABOUT_EDIT};
use crate::testing::*;
use relay_config::{Config, Direction, Overflow};
use relay_model::{
    ChannelIndex, ChannelRole, EarlyEdit, Event, MatrixEvent, MeshMessage, MeshRowId, MeshSource,
    NewVersion, PacketId, RadioPayload, RadioProfile, Sign, Version,
};

const MINUTE: Duration = Duration::from_mins(1);

/// Alice's edit of `$target`.
fn edit(body: &str) -> RoomEdit {
    RoomEdit {
        target: event("$target"),
        new: RoomText {
            event: event("$edit"),
            ..message(body)
        },
    }
}

fn edited(config: Config, edit: &RoomEdit, facts: &Facts) -> Vec<Action> {
    let event = Event::Matrix(MatrixEvent::Edit(Box::new(edit.clone())));
    bridge_of(config).verdict(&event, facts, NOON)
}

/// Alice's `$target`, written a minute ago; it waits.
fn waiting() -> Version {
    Version {
        row: MeshRowId(7),
        correction: 0,
        waits: true,
        source: MeshSource {
            room: room(ROOM),
            event: event("$target"),
            thread: None,
            sender: alice(),
            sent_at: NOON - MINUTE,
            alert: false,
        },
        text: "helo".into(),
        destination: Destination::Channel(ChannelIndex::PRIMARY),
        channel: Some(print_of("LongFast")),
        lane: Lane::Message,
        packet: PacketId(60),
        reply_to: None,
        packets: 1,
        accepted_at: NOON - MINUTE,
        edited_at: None,
    }
}

fn sent() -> Version {
    Version {
        waits: false,
        ..waiting()
    }
}

/// A correction of [`sent`] that waits for a moment.
fn correction(text: &str, number: u8) -> Version {
    Version {
        row: MeshRowId(8),
        correction: number,
        packet: PacketId(61),
        reply_to: Some(PacketId(60)),
        text: text.into(),
        accepted_at: NOON,
        ..waiting()
    }
}

fn knowing_versions(versions: Vec<Version>) -> Facts {
    Facts {
        versions,
        target_seen: true,
        ..Facts::default()
    }
}

fn only(actions: &[Action]) -> &Action {
    match actions {
        [action] => action,
        other => panic!("{other:?}"),
    }
}

fn rewritten(actions: &[Action]) -> &NewVersion {
    match actions.first() {
        Some(Action::Rewrite(_, new)) => new,
        other => panic!("{other:?}"),
    }
}

fn texts(draft: &Draft) -> Vec<(String, Option<u32>)> {
    let parts = rendered(draft, &config().meshtastic.long_messages);
    let text = |part: &RadioPayload| match part {
        RadioPayload::Text { text, reply_to } => (text.clone(), reply_to.map(|it| it.0)),
        RadioPayload::Tapback { .. } => panic!("a tapback"),
    };
    parts.iter().map(text).collect()
}

/// The notice to the author of an edit that is not transmitted.
fn of_edit(reason: DropReason) -> String {
    reason.sentences(&config(), &alice()) + ABOUT_EDIT
}

/// The author gets a notice, once a day: the sign shows the state of the message itself.
fn is_told(edit: &RoomEdit, facts: &Facts, reason: DropReason, config: &Config) {
    let Telling::Author(..) = reason.telling() else {
        panic!("{reason} is nobody's business");
    };
    let actions = edited(config.clone(), edit, facts);
    let what = format!("{} {}", reason.name(), alice());
    assert!(actions.contains(&Action::Drop(reason)), "{actions:?}");
    assert_eq!(notices(&actions), [reason.sentences(config, &alice())]);
    assert_eq!(
        actions.last(),
        Some(&Action::StartCooldown {
            what: what.clone(),
            until: NOON + Duration::from_hours(24)
        })
    );
    let told = Facts {
        cooldowns: vec![what],
        ..facts.clone()
    };
    let actions = edited(config.clone(), edit, &told);
    assert_eq!(notices(&actions), [""; 0]);
}
