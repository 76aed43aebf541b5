//! What becomes of a packet for the mesh, step by step.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};

/// What became of a packet for the mesh so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MeshState {
    /// It waits in the outbox.
    Waiting,
    /// It was handed to the radio, which has not answered yet.
    Submitted,
    /// The radio took it.
    Accepted,
    /// The radio took it, and nothing more was heard in time.
    Unknown,
    /// It was on the air; nobody was heard repeating it.
    Unheard,
    /// Another node repeated it.
    Heard,
    /// The addressee has it.
    Delivered,
    /// The radio will never take it.
    Refused,
    /// It was too old when its turn came.
    Expired,
    /// It was taken back before it was sent.
    Withdrawn,
}

impl MeshState {
    /// Returns the number under which the table keeps it. The migrations' indexes name some of them.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Waiting => 0,
            Self::Submitted => 1,
            Self::Accepted => 2,
            Self::Unknown => 3,
            Self::Unheard => 4,
            Self::Heard => 5,
            Self::Delivered => 6,
            Self::Refused => 7,
            Self::Expired => 8,
            Self::Withdrawn => 9,
        }
    }

    /// Returns whether a report may lead from this state to `next`: a state only improves, except that the radio can
    /// refuse what it had taken.
    #[must_use]
    pub fn may_become(self, next: Self) -> bool {
        match self {
            Self::Waiting => next != Self::Waiting,
            Self::Submitted => next != Self::Submitted,
            Self::Accepted | Self::Unknown | Self::Unheard | Self::Heard => match next {
                Self::Waiting
                | Self::Submitted
                | Self::Accepted
                | Self::Expired
                | Self::Withdrawn => false,
                Self::Unknown | Self::Unheard | Self::Heard | Self::Delivered => {
                    next.number() > self.number()
                }
                Self::Refused => true,
            },
            Self::Delivered | Self::Refused | Self::Expired | Self::Withdrawn => false,
        }
    }
}

impl ToSql for MeshState {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::from(self.number()))
    }
}

impl FromSql for MeshState {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        match u8::column_result(value)? {
            0 => Ok(Self::Waiting),
            1 => Ok(Self::Submitted),
            2 => Ok(Self::Accepted),
            3 => Ok(Self::Unknown),
            4 => Ok(Self::Unheard),
            5 => Ok(Self::Heard),
            6 => Ok(Self::Delivered),
            7 => Ok(Self::Refused),
            8 => Ok(Self::Expired),
            9 => Ok(Self::Withdrawn),
            other => Err(FromSqlError::OutOfRange(i64::from(other))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MeshState::{
        self, Accepted, Delivered, Expired, Heard, Refused, Submitted, Unheard, Unknown, Waiting,
        Withdrawn,
    };

    const ALL: [MeshState; 10] = [
        Waiting, Submitted, Accepted, Unknown, Unheard, Heard, Delivered, Refused, Expired,
        Withdrawn,
    ];

    #[test]
    fn a_state_comes_back_from_its_number() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        for state in ALL {
            let read: MeshState = connection
                .query_row("SELECT ?1", [state], |row| row.get(0))
                .unwrap();
            assert_eq!(read, state);
        }
    }

    #[test]
    fn what_is_on_the_air_only_improves_unless_it_is_refused_after_all() {
        assert!(Accepted.may_become(Unheard));
        assert!(Unheard.may_become(Heard));
        assert!(Unknown.may_become(Heard));
        assert!(Heard.may_become(Delivered));
        assert!(Heard.may_become(Refused));
        for state in [Accepted, Unknown, Unheard, Heard, Delivered] {
            for back in [Waiting, Submitted, Accepted, Expired, Withdrawn] {
                assert!(!state.may_become(back), "{state:?} {back:?}");
            }
        }
        assert!(!Heard.may_become(Unheard));
    }

    #[test]
    fn what_is_over_stays_over() {
        for state in [Delivered, Refused, Expired, Withdrawn] {
            for next in ALL {
                assert!(!state.may_become(next), "{state:?} {next:?}");
            }
        }
    }
}
