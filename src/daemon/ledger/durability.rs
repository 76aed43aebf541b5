//! Which commits wait for the disk. A power cut takes back the last commits that did not wait, all of them or the newest:
//! whatever leaves the relay (a message, a packet, an identifier) is committed by one that waits, and takes the earlier
//! ones with it to the disk. What may be lost comes again, or is no more than a sign (docs/decisions/0032).

use relay_bridge::Action;
use relay_model::{Event, MatrixEvent, RadioEvent, RadioOutcome, RoomOutcome, SendReport};

/// Returns whether an event usually results only in actions that [`may_be_lost`].
pub(super) fn is_light(event: &Event) -> bool {
    match event {
        Event::Report(report) => is_light_report(report),
        Event::Matrix(event) => matches!(event, MatrixEvent::Own { .. } | MatrixEvent::Synced(_)),
        Event::Radio(event) => matches!(
            event,
            RadioEvent::Nodes(_) | RadioEvent::Ignored { .. } | RadioEvent::ChannelUse { .. }
        ),
        Event::Chore(_) => false,
    }
}

/// Returns whether an event is lost in a power cut unless it is on the disk soon, and matters: the event of a room would be
/// sent again under the same transaction id, which the homeserver forgets one day, and a sign would stay as it is.
pub(super) fn is_soon_due(event: &Event) -> bool {
    match event {
        Event::Report(report) => is_light_report(report),
        // It may end a row, or a sign's request.
        Event::Matrix(MatrixEvent::Own { transaction, .. }) => transaction.is_some(),
        Event::Matrix(_) | Event::Radio(_) | Event::Chore(_) => false,
    }
}

fn is_light_report(report: &SendReport) -> bool {
    match report {
        SendReport::Room { outcome, .. } => matches!(outcome, RoomOutcome::Sent { .. }),
        // A packet that was taken could go on the air twice.
        SendReport::Radio { outcome, .. } => matches!(
            outcome,
            RadioOutcome::Heard | RadioOutcome::Unheard | RadioOutcome::Delivered
        ),
    }
}

/// Returns whether a power cut may take back an action: it is repeated by the same event when that comes again, or
/// concerns only memory and signs.
pub(super) fn may_be_lost(action: &Action) -> bool {
    if let Action::Report(report) = action {
        return is_light_report(report);
    }
    matches!(
        action,
        Action::CameBack(..)
            | Action::Seen(_)
            | Action::Position(..)
            | Action::KeepNodes(_)
            | Action::Read(_)
            | Action::Show(..)
            | Action::ForgetChanged
            | Action::Drop(_)
            | Action::Ignore(_)
            | Action::WakeMesh
            | Action::WakeSigns
            | Action::LookBy(_)
            | Action::Next(_)
    )
}
