//! Which commits wait for the disk. A power cut takes back the last commits that did not wait, all of them or the newest:
//! whatever leaves the relay (a message, a packet, an identifier) is committed by one that waits, and takes the earlier
//! ones with it to the disk. What may be lost comes again, or is no more than a sign (docs/decisions/0032).

use relay_bridge::{Action, SeenKey};
use relay_model::{Event, MatrixEvent, RadioEvent, RadioOutcome, RoomOutcome, SendReport};

/// Returns whether an event usually results only in actions that [`may_be_lost`].
pub(super) fn is_light(event: &Event) -> bool {
    match event {
        Event::Report(report) => is_light_report(report),
        Event::Matrix(event) => matches!(
            event,
            MatrixEvent::Own { .. } | MatrixEvent::Avatar(_) | MatrixEvent::Synced(_)
        ),
        Event::Radio(event) => matches!(
            event,
            RadioEvent::Nodes(_) | RadioEvent::Ignored { .. } | RadioEvent::ChannelUse { .. }
        ),
        Event::Chore(_) => false,
    }
}

/// Returns whether what follows from an event is to be on the disk soon, though its commit need not wait. Otherwise a power
/// cut could bring back a row that was sent long ago, whose transaction id the homeserver has forgotten, or an old sign.
pub(super) fn is_soon_due(event: &Event) -> bool {
    match event {
        Event::Report(report) => is_light_report(report),
        Event::Matrix(MatrixEvent::Own { transaction, .. }) => transaction.is_some(),
        Event::Matrix(_) | Event::Radio(_) | Event::Chore(_) => false,
    }
}

fn is_light_report(report: &SendReport) -> bool {
    match report {
        SendReport::Room { outcome, .. } => matches!(outcome, RoomOutcome::Sent { .. }),
        // Not `Accepted`: after a power cut the packet would go on the air again.
        SendReport::Radio { outcome, .. } => matches!(
            outcome,
            RadioOutcome::Heard | RadioOutcome::Unheard | RadioOutcome::Delivered
        ),
    }
}

/// Returns whether a power cut may take back an action: the homeserver or the radio says the same again, or only memory and
/// signs depend on it. An action that is not listed makes its commit wait.
pub(super) fn may_be_lost(action: &Action) -> bool {
    if let Action::Report(report) = action {
        return is_light_report(report);
    }
    matches!(
        action,
        Action::CameBack(..)
            | Action::Seen(SeenKey::Event(_))
            | Action::Position(..)
            | Action::KeepNodes(_)
            | Action::KeepAvatar(_)
            | Action::Read(_)
            | Action::Show(..)
            | Action::ForgetChanged
            | Action::Ignore(_)
            | Action::LookBy(_)
            | Action::OtherRelay(..)
    )
}
