//! Selects which of a radio's repeated notifications are logged. No I/O, no clock.

use std::time::{Duration, Instant};

/// How long a notification is not logged again.
const LOG_AGAIN_AFTER: Duration = Duration::from_mins(10);
/// Maximum number of different notifications logged in that time.
const MOST_SENTENCES: usize = 16;

/// The notifications logged recently.
#[derive(Debug, Default)]
pub(super) struct RepeatFilter {
    sentences: Vec<(String, Instant)>,
}

impl RepeatFilter {
    /// Records a notification; returns whether to log it at a visible level.
    pub(super) fn is_news(&mut self, sentence: &str, now: Instant) -> bool {
        self.sentences
            .retain(|(_, since)| now < *since + LOG_AGAIN_AFTER);
        let known = self.sentences.iter().any(|(known, _)| known == sentence);
        if known || self.sentences.len() >= MOST_SENTENCES {
            return false;
        }
        self.sentences.push((sentence.to_owned(), now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::now::Now;
    use relay_model::Timestamp;

    fn begin() -> Instant {
        Now::at(Timestamp(0)).instant
    }

    #[test]
    fn what_a_radio_says_again_and_again_is_logged_once_in_10_minutes() {
        let (mut filter, begin) = (RepeatFilter::default(), begin());
        let mut logged = 0;
        for second in 0..3600 {
            let now = begin + Duration::from_secs(second);
            logged += usize::from(filter.is_news("Duty cycle limit exceeded", now));
        }
        assert_eq!(logged, 6);
    }

    #[test]
    fn a_radio_that_always_says_something_else_fills_neither_the_log_nor_the_memory() {
        let (mut filter, begin) = (RepeatFilter::default(), begin());
        let sentences = (0..1000).map(|number| format!("Send again in {number} ms"));
        let logged = sentences.filter(|sentence| filter.is_news(sentence, begin));
        assert_eq!(logged.count(), MOST_SENTENCES);
        assert_eq!(filter.sentences.len(), MOST_SENTENCES);
        assert!(filter.is_news("later", begin + LOG_AGAIN_AFTER));
        assert_eq!(filter.sentences.len(), 1);
    }
}
