//! Cooldowns: names of notices, direct replies and room mentions that must not be repeated before a given time.

use std::time::Duration;

use super::{Result, Tx};
use relay_model::Timestamp;

/// Maximum time ahead of a cooldown that is not permanent. A later one was written by a clock that was ahead, and is ignored.
pub(super) const LONGEST: Duration = Duration::from_hours(25);

/// Starts a cooldown that ends at `until`, at most a day ahead, or [`Timestamp::NEVER`].
pub fn start(tx: &Tx<'_>, what: &str, until: Timestamp) -> Result<()> {
    tx.run(
        "INSERT INTO told (what, until) VALUES (?1, ?2)
         ON CONFLICT (what) DO UPDATE SET until = excluded.until",
        (what, until),
    )
}

/// Returns whether this cooldown runs: its end is ahead, and no further than a cooldown can last.
pub fn is_running(tx: &Tx<'_>, what: &str, now: Timestamp) -> Result<bool> {
    tx.exists(
        "SELECT 1 FROM told WHERE what = ?1 AND until > ?2 AND (until <= ?3 OR until = ?4)",
        (what, now, now + LONGEST, Timestamp::NEVER),
    )
}

/// Returns the running cooldowns whose names begin with `start`.
pub fn beginning_with(tx: &Tx<'_>, start: &str, now: Timestamp) -> Result<Vec<String>> {
    tx.column(
        "SELECT what FROM told WHERE what >= ?1 AND what < ?1 || char(1114111)
             AND until > ?2 AND (until <= ?3 OR until = ?4)",
        (start, now, now + LONGEST, Timestamp::NEVER),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    #[test]
    fn what_a_clock_that_was_ahead_said_is_no_longer_told_but_what_is_said_for_good_is() {
        let mut store = Store::in_memory().unwrap();
        let (now, day) = (Timestamp(1_700_000_000_000), Duration::from_hours(24));
        store
            .transaction(|tx| {
                start(tx, "a", now + 3650 * day)?;
                assert!(is_running(tx, "a", now + 3649 * day)?);
                assert!(!is_running(tx, "a", now)?);
                start(tx, "a", now + day)?;
                assert!(is_running(tx, "a", now)?);
                start(tx, "b", Timestamp::NEVER)?;
                assert!(is_running(tx, "b", now + 3650 * day)?);
                Ok(())
            })
            .unwrap();
    }

    #[test]
    fn what_was_said_is_told_until_its_time() {
        let mut store = Store::in_memory().unwrap();
        store
            .transaction(|tx| {
                start(tx, "dm_reply !a1b2c3d4", Timestamp(100))?;
                start(tx, "alert !a1b2c3d4", Timestamp(50))?;
                let names = ["dm_reply !a1b2c3d4", "alert !a1b2c3d4", "other"];
                for (at, told) in [(49, 2), (50, 1), (100, 0)] {
                    for (number, name) in names.into_iter().enumerate() {
                        assert_eq!(is_running(tx, name, Timestamp(at))?, number < told);
                    }
                }
                start(tx, names[0], Timestamp(200))?;
                assert!(is_running(tx, names[0], Timestamp(100))?);
                Ok(())
            })
            .unwrap();
    }
}
