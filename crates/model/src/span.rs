//! Durations for people: rounded down to the largest unit of which there are at least two.

use std::time::Duration;

use super::Timestamp;

/// Minimum age from which a message states how late it is.
const LATE: Duration = Duration::from_mins(5);

/// Returns how late a message of that time is, if it has to say so; nothing where the clock was set back.
pub fn lateness(then: Timestamp, now: Timestamp) -> Option<Duration> {
    Some(now.since(then)).filter(|age| *age > LATE)
}

/// Returns a duration in whole units, with the unit's symbol and its name.
fn cut(span: Duration) -> (u64, &'static str, &'static str) {
    let seconds = span.as_secs();
    match seconds {
        0..120 => (seconds, "s", "seconds"),
        120..7_200 => (seconds / 60, "min", "minutes"),
        7_200..172_800 => (seconds / 3_600, "h", "hours"),
        _ => (seconds / 86_400, "days", "days"),
    }
}

/// Formats a duration as `12 s`, `3 min`, `5 h` or `9 days`.
pub fn short(span: Duration) -> String {
    let (count, unit, _) = cut(span);
    format!("{count} {unit}")
}

/// Formats a number of seconds as [`short`] does.
pub fn of_seconds(seconds: u64) -> String {
    short(Duration::from_secs(seconds))
}

/// Formats a duration in words: `less than a minute`, `1 minute`, `3 minutes`, `5 hours`, `9 days`.
pub fn long(span: Duration) -> String {
    match span.as_secs() {
        0..60 => "less than a minute".to_owned(),
        60..120 => "1 minute".to_owned(),
        _ => {
            let (count, _, unit) = cut(span);
            format!("{count} {unit}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_says_how_late_it_is_after_five_minutes() {
        let noon = Timestamp(1_760_000_000_000);
        let minutes = |count| noon + Duration::from_mins(count);
        assert_eq!(lateness(noon, minutes(5)), None);
        assert_eq!(lateness(noon, minutes(6)), Some(Duration::from_mins(6)));
        assert_eq!(lateness(minutes(9), noon), None, "the clock was set back");
    }

    #[test]
    fn a_span_is_told_in_the_largest_unit_that_there_are_two_of() {
        for (seconds, in_short, in_words) in [
            (0, "0 s", "less than a minute"),
            (59, "59 s", "less than a minute"),
            (60, "60 s", "1 minute"),
            (119, "119 s", "1 minute"),
            (120, "2 min", "2 minutes"),
            (7_199, "119 min", "119 minutes"),
            (7_200, "2 h", "2 hours"),
            (172_799, "47 h", "47 hours"),
            (172_800, "2 days", "2 days"),
        ] {
            let span = Duration::from_secs(seconds);
            assert_eq!((&*short(span), &*long(span)), (in_short, in_words));
        }
        let longest = format!("{} days", u64::MAX / 86_400);
        assert_eq!(short(Duration::MAX), longest);
    }
}
