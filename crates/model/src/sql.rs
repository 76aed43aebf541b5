//! Column forms of shared types: inner value, position among the variants, or key.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use strum::VariantArray as _;

use super::{
    Fingerprint, Lane, MeshRowId, MeshState, NodeNum, Origin, PacketId, RoomRowId, Sign, StepKind,
    Timestamp,
};

macro_rules! as_what_they_hold {
    ($($name:ident),*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                self.0.to_sql()
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                FromSql::column_result(value).map(Self)
            }
        }
    )*};
}

as_what_they_hold!(
    NodeNum,
    PacketId,
    MeshRowId,
    RoomRowId,
    Timestamp,
    Fingerprint
);

macro_rules! by_place {
    ($($name:ident),*) => {$(
        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::from(*self as u8))
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let number = u8::column_result(value)?;
                let variant = Self::VARIANTS.get(usize::from(number)).copied();
                variant.ok_or(FromSqlError::OutOfRange(number.into()))
            }
        }
    )*};
}

by_place!(Lane, MeshState, Origin, StepKind);

/// As its key. It is read as a text: another version of the relay may have written it.
impl ToSql for Sign {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.key().to_sql()
    }
}
