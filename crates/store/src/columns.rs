//! How shared types that take more than one column are stored and read.

use std::error::Error;
use std::time::Duration;

use rusqlite::RowIndex;
use rusqlite::types::{FromSqlError, Type};

use relay_model::{ChannelIndex, Destination, MeshSource, NodeNum};

pub(super) use rusqlite::Row;

/// Value of the column `target_kind`: `target` is a channel slot.
pub(super) const TO_CHANNEL: u8 = 0;
/// `target` is a node number.
const TO_NODE: u8 = 1;

/// Returns the two columns of a destination: (`target_kind`, `target`).
pub(super) fn target(destination: Destination) -> (u8, u32) {
    match destination {
        Destination::Channel(index) => (TO_CHANNEL, u32::from(index.number())),
        Destination::Direct(node) => (TO_NODE, node.0),
    }
}

/// Reads the columns `target_kind` and `target`.
pub(super) fn destination(row: &Row<'_>) -> rusqlite::Result<Destination> {
    let target: u32 = row.get("target")?;
    match row.get::<_, u8>("target_kind")? {
        TO_CHANNEL => ChannelIndex::try_from(target)
            .map(Destination::Channel)
            .map_err(unreadable),
        TO_NODE => Ok(Destination::Direct(NodeNum(target))),
        other => Err(unreadable(FromSqlError::OutOfRange(i64::from(other)))),
    }
}

/// Reads an identifier, or NULL.
pub(super) fn optional<T>(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<Option<T>>
where
    T: TryFrom<String>,
    T::Error: Error + Send + Sync + 'static,
{
    row.get::<_, Option<String>>(column)?
        .map(|text| T::try_from(text).map_err(unreadable))
        .transpose()
}

/// Reads an identifier that is always there.
pub(super) fn identifier<T>(row: &Row<'_>, column: impl RowIndex) -> rusqlite::Result<T>
where
    T: TryFrom<String>,
    T::Error: Error + Send + Sync + 'static,
{
    T::try_from(row.get::<_, String>(column)?).map_err(unreadable)
}

/// Reads the Matrix message behind a row, if there is one.
pub(super) fn mesh_source(row: &Row<'_>) -> rusqlite::Result<Option<MeshSource>> {
    let room: Option<String> = row.get("room")?;
    room.map(|_| source_of(row)).transpose()
}

/// Reads the Matrix message behind a row.
pub(super) fn source_of(row: &Row<'_>) -> rusqlite::Result<MeshSource> {
    Ok(MeshSource {
        room: identifier(row, "room")?,
        event: identifier(row, "event")?,
        thread: optional(row, "thread")?,
        sender: identifier(row, "sender")?,
        sent_at: row.get("sent_at")?,
        alert: row.get("alert")?,
    })
}

/// Maximum delay that the relay ever sets. A time further ahead was written while the clock was wrong.
pub(super) const LONGEST_WAIT: Duration = Duration::from_hours(2);

/// Maximum difference between two readings of a clock that nobody has set.
pub(super) const SLACK: Duration = Duration::from_secs(1);

/// Returns the room and the event of a row that cannot be read, as far as these can.
pub(super) fn place(row: &Row<'_>) -> (Option<String>, Option<String>) {
    (row.get("room").ok(), row.get("event").ok())
}

/// Makes the error of a row that we cannot read.
pub(super) fn unreadable(cause: impl Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(cause))
}

#[cfg(test)]
mod tests {
    use rusqlite::Params;
    use strum::VariantArray as _;

    use super::*;
    use relay_model::{MeshState, PacketId};

    fn read<T>(
        sql: &str,
        parameters: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        connection.query_row(sql, parameters, read)
    }

    #[test]
    fn of_a_damaged_row_what_can_be_read_is_named() {
        let place = |sql| read(sql, (), |row| Ok(place(row))).unwrap();
        let room = Some("!room:example.org".to_owned());
        assert_eq!(
            place("SELECT '!room:example.org' AS room, x'00' AS event"),
            (room, None)
        );
        assert_eq!(place("SELECT NULL AS room, 1 AS other"), (None, None));
    }

    #[test]
    fn the_largest_numbers_come_back_whole() {
        let largest = (NodeNum::BROADCAST, PacketId(u32::MAX));
        let read = read("SELECT ?1, ?2", largest, |row| {
            Ok((row.get(0)?, row.get(1)?))
        });
        assert_eq!(read, Ok((NodeNum(u32::MAX), PacketId(u32::MAX))));
    }

    #[test]
    fn every_variant_comes_back_and_a_number_that_stands_for_none_is_an_error() {
        for &state in MeshState::VARIANTS {
            assert_eq!(read("SELECT ?1", [state], |row| row.get(0)), Ok(state));
        }
        let read = |number: u8| read("SELECT ?1", [number], |row| row.get::<_, MeshState>(0));
        assert_eq!(read(9), Ok(MeshState::Withdrawn));
        assert!(read(10).is_err());
    }

    #[test]
    fn a_number_that_is_no_channel_is_an_error_and_no_panic() {
        for sql in [
            "SELECT 0 AS target_kind, 8 AS target",
            "SELECT 2 AS target_kind, 0 AS target",
            "SELECT 0 AS target_kind, -1 AS target",
        ] {
            assert!(read(sql, (), destination).is_err(), "{sql}");
        }
    }
}
