//! How the shared words stand in columns, and back.

use std::error::Error;
use std::time::Duration;

use rusqlite::types::{
    FromSql, FromSqlError, FromSqlResult, Null, ToSql, ToSqlOutput, Type, ValueRef,
};
use rusqlite::{RowIndex, Statement};
use strum::VariantArray as _;

use relay_model::{
    ChannelIndex, Destination, Fingerprint, Lane, MeshRowId, MeshSource, MeshState, NodeNum,
    Origin, PacketId, RoomRowId, Sign, Timestamp,
};

/// What is written to a column: the library's own trait cannot be given to the shared words.
pub(super) trait Bind {
    fn bind(&self) -> rusqlite::Result<ToSqlOutput<'_>>;
}

/// What is read from a column, likewise.
pub(super) trait Column: Sized {
    fn read(value: ValueRef<'_>) -> FromSqlResult<Self>;
}

/// Hands either to the library.
pub(super) struct Sql<T>(pub(super) T);

impl<T: Bind> ToSql for Sql<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.bind()
    }
}

impl<T: Column> FromSql for Sql<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        T::read(value).map(Self)
    }
}

/// A row of an answer.
pub(crate) struct Row<'a>(pub(super) &'a rusqlite::Row<'a>);

impl Row<'_> {
    pub(super) fn get<I: RowIndex, T: Column>(&self, column: I) -> rusqlite::Result<T> {
        self.0.get::<_, Sql<T>>(column).map(|value| value.0)
    }
}

/// The parameters of a statement: in their order, or by their names.
pub(super) trait Bindings {
    fn bind_to(self, statement: &mut Statement<'_>) -> rusqlite::Result<()>;
}

fn bind_all(values: &[&dyn Bind], statement: &mut Statement<'_>) -> rusqlite::Result<()> {
    let expected = statement.parameter_count();
    if values.len() != expected {
        return Err(rusqlite::Error::InvalidParameterCount(
            values.len(),
            expected,
        ));
    }
    for (index, value) in (1..).zip(values) {
        statement.raw_bind_parameter(index, Sql(*value))?;
    }
    Ok(())
}

impl Bindings for () {
    fn bind_to(self, statement: &mut Statement<'_>) -> rusqlite::Result<()> {
        bind_all(&[], statement)
    }
}

impl<T: Bind, const N: usize> Bindings for [T; N] {
    fn bind_to(self, statement: &mut Statement<'_>) -> rusqlite::Result<()> {
        bind_all(&self.each_ref().map(|value| value as &dyn Bind), statement)
    }
}

/// By their names.
impl<const N: usize> Bindings for [(&str, &dyn Bind); N] {
    fn bind_to(self, statement: &mut Statement<'_>) -> rusqlite::Result<()> {
        let expected = statement.parameter_count();
        if N != expected {
            return Err(rusqlite::Error::InvalidParameterCount(N, expected));
        }
        for (name, value) in self {
            let index = statement.parameter_index(name)?;
            let unknown = || rusqlite::Error::InvalidParameterName(name.to_owned());
            statement.raw_bind_parameter(index.ok_or_else(unknown)?, Sql(value))?;
        }
        Ok(())
    }
}

macro_rules! bindings {
    ($first:ident $($more:ident)*) => {
        impl<$first: Bind, $($more: Bind),*> Bindings for ($first, $($more,)*) {
            fn bind_to(self, statement: &mut Statement<'_>) -> rusqlite::Result<()> {
                #[expect(non_snake_case, reason = "the value of each type has its name")]
                let ($first, $($more,)*) = &self;
                bind_all(&[$first as &dyn Bind, $($more),*], statement)
            }
        }
        bindings!($($more)*);
    };
    () => {};
}

bindings!(A B C D E F G H I J K L M N O P Q R S T U);

impl<T: Bind + ?Sized> Bind for &T {
    fn bind(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        (**self).bind()
    }
}

impl<T: Bind> Bind for Option<T> {
    fn bind(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.as_ref().map_or(Ok(Null.into()), T::bind)
    }
}

impl<T: Column> Column for Option<T> {
    fn read(value: ValueRef<'_>) -> FromSqlResult<Self> {
        Option::<Sql<T>>::column_result(value).map(|it| it.map(|value| value.0))
    }
}

/// As the library has it.
macro_rules! plain_column {
    ($($name:ty),*) => {$(
        impl Bind for $name {
            fn bind(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                self.to_sql()
            }
        }

        impl Column for $name {
            fn read(value: ValueRef<'_>) -> FromSqlResult<Self> {
                Self::column_result(value)
            }
        }
    )*};
}

plain_column!(
    bool,
    i8,
    u8,
    u16,
    u32,
    u64,
    usize,
    i64,
    f64,
    String,
    Vec<u8>
);

impl Bind for str {
    fn bind(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.to_sql()
    }
}

macro_rules! number_column {
    ($($name:ident),*) => {$(
        impl Bind for $name {
            fn bind(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                self.0.to_sql()
            }
        }

        impl Column for $name {
            fn read(value: ValueRef<'_>) -> FromSqlResult<Self> {
                FromSql::column_result(value).map(Self)
            }
        }
    )*};
}

number_column!(NodeNum, PacketId, MeshRowId, RoomRowId, Timestamp);

impl Bind for Fingerprint {
    fn bind(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.0.as_slice()))
    }
}

impl Column for Fingerprint {
    fn read(value: ValueRef<'_>) -> FromSqlResult<Self> {
        FromSql::column_result(value).map(Self)
    }
}

/// By its place among the variants.
macro_rules! variant_column {
    ($($name:ident),*) => {$(
        impl Bind for $name {
            fn bind(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(*self as u8))
            }
        }

        impl Column for $name {
            fn read(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let number = u8::column_result(value)?;
                let variant = Self::VARIANTS.get(usize::from(number)).copied();
                variant.ok_or(FromSqlError::OutOfRange(number.into()))
            }
        }
    )*};
}

variant_column!(Lane, MeshState, Origin);

/// By its key: what an earlier or later version showed stays as it is.
impl Bind for Sign {
    fn bind(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.key().to_sql()
    }
}

/// In the column `target_kind`: `target` is a channel's slot.
pub(super) const TO_CHANNEL: u8 = 0;
/// It is a node.
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

/// No wait that we set is longer. A time further ahead was written while the clock was wrong.
pub(super) const LONGEST_WAIT: Duration = Duration::from_hours(2);

/// Two readings of a clock that nobody set differ by less, whichever was stored first.
pub(super) const SLACK: Duration = Duration::from_secs(1);

/// Makes the error of a row that we cannot read.
pub(super) fn unreadable(cause: impl Error + Send + Sync + 'static) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, Box::new(cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(
        sql: &str,
        bindings: impl Bindings,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let mut statement = connection.prepare(sql)?;
        bindings.bind_to(&mut statement)?;
        let mut rows = statement.raw_query();
        read(&Row(rows.next()?.unwrap()))
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
    fn a_statement_has_as_many_parameters_as_it_is_given_and_by_the_names_that_it_knows() {
        let one = |row: &Row<'_>| row.get::<_, i64>(0);
        assert!(read("SELECT ?1 + ?2", [1_i64], one).is_err());
        assert!(read("SELECT ?1", (1_i64, 2_i64), one).is_err());
        assert!(read("SELECT ?1", (), one).is_err());
        let named = |name, value| [(name, value as &dyn Bind)];
        assert_eq!(read("SELECT :one", named(":one", &1_i64), one), Ok(1));
        assert!(read("SELECT :one", named(":other", &1_i64), one).is_err());
        let two: [(&str, &dyn Bind); 2] = [(":one", &1_i64), (":two", &2_i64)];
        assert!(read("SELECT :one", two, one).is_err());
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
