//! Single values that outlive a restart.

use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{Result, Tx, columns::unreadable};
use relay_model::{
    Beginning, Channel, ChannelIndex, ChannelRole, ClockReading, Fingerprint, NodeNum, OwnedUserId,
    Timestamp, UserId,
};

const MESHNET: &str = "meshnet";
const OWN_RADIO: &str = "own_radio";
const RADIO_AWAY: &str = "radio_away_since";
const LAST_ACCEPTANCE: &str = "last_acceptance";
const PROBED: &str = "probed";
const SERVER_CLOCK: &str = "server_clock";
const DIFFERENCES: &str = "differences_told";

/// Returns the account's sync position; `None` before the first sync, or if it is unreadable.
pub fn sync_position(tx: &Tx<'_>, account: &UserId) -> Result<Option<String>> {
    value(tx, &sync_position_of(account))
}

/// Returns whether the account has ever synced.
pub fn has_synced(tx: &Tx<'_>, account: &UserId) -> Result<bool> {
    let name = sync_position_of(account);
    tx.exists("SELECT 1 FROM meta WHERE name = ?1", [name])
}

/// Returns when and where the account's first run began; this is it if none is stored.
pub fn beginning(tx: &Tx<'_>, account: &UserId, this: Beginning) -> Result<Beginning> {
    let name = beginning_of(account);
    match value(tx, &name)?.map(|json| serde_json::from_str(&json)) {
        Some(Ok(stored)) => return Ok(stored),
        Some(Err(error)) => tx.log(move || {
            warn!(%error, "cannot read when the first run began: it begins now, and what was said before is not relayed");
        }),
        None => {}
    }
    set_beginning(tx, account, &this)?;
    Ok(this)
}

/// Returns when the account's first run began, by this computer's clock then; `None` if that is not known.
pub fn began(tx: &Tx<'_>, account: &UserId) -> Result<Option<Timestamp>> {
    let stored: Option<String> = value(tx, &beginning_of(account))?;
    let stored = stored.and_then(|json| serde_json::from_str(&json).ok());
    Ok(stored.map(|stored: Beginning| stored.ours))
}

/// Stores when and where the account's first run began.
pub(super) fn set_beginning(tx: &Tx<'_>, account: &UserId, this: &Beginning) -> Result<()> {
    set_json(tx, &beginning_of(account), this)
}

/// Returns the accounts that have ever synced.
pub(super) fn accounts(tx: &Tx<'_>) -> Result<Vec<OwnedUserId>> {
    let names: Vec<String> = tx.column(
        "SELECT name FROM meta WHERE name LIKE 'sync_position %'",
        (),
    )?;
    let accounts = names.iter().filter_map(|name| name.split_once(' '));
    Ok(accounts.filter_map(|(_, id)| id.try_into().ok()).collect())
}

/// Returns the account's sync position, and forgets it: its next run is a first one.
pub(super) fn take_sync_position(tx: &Tx<'_>, account: &UserId) -> Result<Option<String>> {
    let position = sync_position(tx, account)?;
    tx.run(
        "DELETE FROM meta WHERE name = ?1",
        [sync_position_of(account)],
    )?;
    Ok(position)
}

/// Stores the account's sync position, in the transaction of the events before it.
pub fn set_sync_position(tx: &Tx<'_>, account: &UserId, position: &str) -> Result<()> {
    set(tx, &sync_position_of(account), position)
}

/// Returns until when, by its homeserver's clock, all of the account was handed over at its sync position.
pub fn read_until(tx: &Tx<'_>, account: &UserId) -> Result<Option<Timestamp>> {
    time(tx, &read_until_of(account))
}

/// Stores until when all of the account is handed over.
pub fn set_read_until(tx: &Tx<'_>, account: &UserId, at: Timestamp) -> Result<()> {
    set(tx, &read_until_of(account), &at.to_string())
}

/// Returns the message pair behind which the account's homeserver is expected to know what it has confirmed; 0: all of them.
pub fn measured_after(tx: &Tx<'_>, account: &UserId) -> Result<i64> {
    let pair: Option<String> = value(tx, &measured_after_of(account))?;
    Ok(pair.and_then(|pair| pair.parse().ok()).unwrap_or_default())
}

/// Stores that the account's homeserver may have forgotten what it had confirmed up to this message pair.
pub fn set_measured_after(tx: &Tx<'_>, account: &UserId, pair: i64) -> Result<()> {
    set(tx, &measured_after_of(account), &pair.to_string())
}

/// Returns the mesh's name, as it was seen last.
pub fn meshnet(tx: &Tx<'_>) -> Result<Option<String>> {
    value(tx, MESHNET)
}

/// Stores the name of the mesh as it is now.
pub fn set_meshnet(tx: &Tx<'_>, name: &str) -> Result<()> {
    set(tx, MESHNET, name)
}

/// Returns the node number of the radio that was attached last.
pub fn own_radio(tx: &Tx<'_>) -> Result<Option<NodeNum>> {
    Ok(value(tx, OWN_RADIO)?.and_then(|text| text.parse().ok()))
}

/// Stores the node number of the attached radio.
pub fn set_own_radio(tx: &Tx<'_>, own: NodeNum) -> Result<()> {
    set(tx, OWN_RADIO, &own.to_string())
}

/// Returns when the radio last took a packet, from which pacing continues.
pub fn last_acceptance(tx: &Tx<'_>) -> Result<Option<Timestamp>> {
    time(tx, LAST_ACCEPTANCE)
}

/// Stores when the radio took a packet, or may have taken it.
pub fn set_last_acceptance(tx: &Tx<'_>, at: Timestamp) -> Result<()> {
    set(tx, LAST_ACCEPTANCE, &at.to_string())
}

/// Stores the time of a write probe.
pub(super) fn set_probed(tx: &Tx<'_>, now: Timestamp) -> Result<()> {
    set(tx, PROBED, &now.to_string())
}

/// Returns since when the radio cannot be reached; `None` if it can.
pub fn radio_away_since(tx: &Tx<'_>) -> Result<Option<Timestamp>> {
    time(tx, RADIO_AWAY)
}

/// Stores since when the radio cannot be reached.
pub fn set_radio_away_since(tx: &Tx<'_>, since: Option<Timestamp>) -> Result<()> {
    let since = since.map(|it| it.to_string());
    set(tx, RADIO_AWAY, &since.unwrap_or_default())
}

/// Returns the last reading of the homeserver's clock.
pub fn server_clock(tx: &Tx<'_>) -> Result<Option<ClockReading>> {
    // Read again at the next connect.
    Ok(value(tx, SERVER_CLOCK)?.and_then(|json| serde_json::from_str(&json).ok()))
}

/// Remembers what the homeserver's clock showed.
pub fn set_server_clock(tx: &Tx<'_>, reading: &ClockReading) -> Result<()> {
    set_json(tx, SERVER_CLOCK, reading)
}

/// Returns which of these differences from MMRelay were never told, and remembers that they are now.
pub fn untold_differences(tx: &Tx<'_>, differences: &[String]) -> Result<Vec<String>> {
    let told = value(tx, DIFFERENCES)?.unwrap_or_default();
    let mut told: Vec<String> = serde_json::from_str(&told).unwrap_or_default();
    let is_new = |it: &&String| !told.contains(it);
    let untold: Vec<String> = differences.iter().filter(is_new).cloned().collect();
    if !untold.is_empty() {
        told.extend_from_slice(&untold);
        set_json(tx, DIFFERENCES, &told)?;
    }
    Ok(untold)
}

/// Returns a radio's last known channels; empty if none are stored.
pub fn channels(tx: &Tx<'_>, radio: NodeNum) -> Result<Vec<Channel>> {
    let Some(json) = value(tx, &channels_of(radio))? else {
        return Ok(Vec::new());
    };
    let stored: Vec<StoredChannel> = serde_json::from_str(&json).unwrap_or_else(|error| {
        // The radio reports them again at the next connect.
        tx.log(move || warn!(%error, "cannot read the channels stored last"));
        Vec::new()
    });
    let channels = stored.into_iter().filter_map(|channel| {
        Some(Channel {
            index: ChannelIndex::try_from(channel.index).ok()?,
            name: channel.name,
            role: channel.role,
            fingerprint: channel.fingerprint,
        })
    });
    Ok(channels.collect())
}

/// Stores the channels that a radio reported, without their keys.
pub fn set_channels(tx: &Tx<'_>, radio: NodeNum, channels: &[Channel]) -> Result<()> {
    let stored = channels.iter().map(|channel| StoredChannel {
        index: u32::from(channel.index.number()),
        name: channel.name.clone(),
        role: channel.role,
        fingerprint: channel.fingerprint,
    });
    set_json(tx, &channels_of(radio), &stored.collect::<Vec<_>>())
}

/// The JSON form of a channel in the table.
#[derive(Serialize, Deserialize)]
struct StoredChannel {
    index: u32,
    name: String,
    role: ChannelRole,
    /// Missing in rows of earlier versions.
    #[serde(default)]
    fingerprint: Option<Fingerprint>,
}

fn sync_position_of(account: &UserId) -> String {
    format!("sync_position {account}")
}

fn beginning_of(account: &UserId) -> String {
    format!("beginning {account}")
}

fn read_until_of(account: &UserId) -> String {
    format!("read_until {account}")
}

fn measured_after_of(account: &UserId) -> String {
    format!("measured_after {account}")
}

fn channels_of(radio: NodeNum) -> String {
    format!("channels {radio}")
}

fn value(tx: &Tx<'_>, name: &str) -> Result<Option<String>> {
    tx.first("SELECT value FROM meta WHERE name = ?1", [name], |row| {
        row.get(0)
    })
}

fn time(tx: &Tx<'_>, name: &str) -> Result<Option<Timestamp>> {
    Ok(value(tx, name)?.and_then(|text| text.parse().ok().map(Timestamp)))
}

fn set_json(tx: &Tx<'_>, name: &str, value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string(value).map_err(unreadable)?;
    set(tx, name, &json)
}

/// Unchanged values are not written.
fn set(tx: &Tx<'_>, name: &str, value: &str) -> Result<()> {
    tx.run(
        "INSERT INTO meta (name, value) VALUES (?1, ?2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE value <> excluded.value",
        (name, value),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    const RADIO: NodeNum = NodeNum(0x0A0B_0C0D);

    #[test]
    fn each_account_has_its_own_sync_position() {
        let alice = UserId::parse("@alice:example.org").unwrap();
        let bob = UserId::parse("@bob:example.org").unwrap();
        let mut store = Store::in_memory().unwrap();
        store
            .transaction(|tx| {
                assert_eq!(sync_position(tx, &alice)?, None);
                set_sync_position(tx, &alice, "s1")?;
                set_sync_position(tx, &alice, "s2")?;
                assert_eq!(sync_position(tx, &alice)?.as_deref(), Some("s2"));
                assert_eq!(sync_position(tx, &bob)?, None);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn the_first_run_of_an_account_begins_once() {
        let alice = UserId::parse("@alice:example.org").unwrap();
        let at = |position: &str| Beginning {
            ours: Timestamp(1_767_225_600_000),
            passed: 60_000,
            boot: "this".to_owned(),
            position: Some(position.to_owned()),
        };
        let mut store = Store::in_memory().unwrap();
        store
            .transaction(|tx| {
                assert_eq!(beginning(tx, &alice, at("s1"))?, at("s1"));
                assert_eq!(beginning(tx, &alice, at("s2"))?, at("s1"));
                assert!(!has_synced(tx, &alice)?);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn the_radio_its_channels_and_its_mesh_are_remembered() {
        let channels_now = vec![
            Channel {
                index: ChannelIndex::PRIMARY,
                name: "LongFast".to_owned(),
                role: ChannelRole::Primary,
                fingerprint: Some(Fingerprint([200; 32])),
            },
            Channel {
                index: ChannelIndex::try_from(3).unwrap(),
                name: "Rescue \"1\"".to_owned(),
                role: ChannelRole::Secondary,
                fingerprint: None,
            },
        ];
        let mut store = Store::in_memory().unwrap();
        store
            .transaction(|tx| {
                assert_eq!(own_radio(tx)?, None);
                assert_eq!(channels(tx, RADIO)?, []);
                set_own_radio(tx, RADIO)?;
                set_meshnet(tx, "LongFast")?;
                set_channels(tx, RADIO, &channels_now)?;
                assert_eq!(own_radio(tx)?, Some(RADIO));
                assert_eq!(meshnet(tx)?.as_deref(), Some("LongFast"));
                assert_eq!(channels(tx, RADIO)?, channels_now);
                assert_eq!(channels(tx, NodeNum(1))?, []);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn a_difference_is_told_once() {
        let differences =
            |names: &[&str]| names.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let mut store = Store::in_memory().unwrap();
        store
            .transaction(|tx| {
                let both = differences(&["one", "two"]);
                assert_eq!(untold_differences(tx, &both[..1])?, both[..1]);
                assert_eq!(untold_differences(tx, &both)?, both[1..]);
                assert_eq!(untold_differences(tx, &both)?, [""; 0]);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn the_pace_goes_on_from_the_last_acceptance() {
        let mut store = Store::in_memory().unwrap();
        store
            .transaction(|tx| {
                assert_eq!(last_acceptance(tx)?, None);
                set_last_acceptance(tx, Timestamp(1_700_000_000_001))?;
                assert_eq!(last_acceptance(tx)?, Some(Timestamp(1_700_000_000_001)));
                Ok(())
            })
            .unwrap();
    }
}
