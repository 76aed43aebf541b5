//! What the radio says to whoever is there, again and again: which of it is worth a line in the log. No I/O, no clock.

use std::time::{Duration, Instant};

/// A sentence is news once in that time.
const SAID_AGAIN: Duration = Duration::from_mins(10);
/// So many sentences are, in that time.
const SENTENCES: usize = 16;

/// What was said lately.
#[derive(Debug, Default)]
pub(super) struct Said {
    sentences: Vec<(String, Instant)>,
}

impl Said {
    /// Notes a sentence; returns whether it is worth a line that everybody sees.
    pub(super) fn is_news(&mut self, sentence: &str, now: Instant) -> bool {
        self.sentences
            .retain(|(_, since)| now < *since + SAID_AGAIN);
        let known = self.sentences.iter().any(|(said, _)| said == sentence);
        if known || self.sentences.len() >= SENTENCES {
            return false;
        }
        self.sentences.push((sentence.to_owned(), now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::Moment;
    use relay_model::Timestamp;

    fn begin() -> Instant {
        Moment::at(Timestamp(0)).instant
    }

    #[test]
    fn what_a_radio_says_again_and_again_is_logged_once_in_10_minutes() {
        let (mut said, begin) = (Said::default(), begin());
        let mut logged = 0;
        for second in 0..3600 {
            let now = begin + Duration::from_secs(second);
            logged += usize::from(said.is_news("Duty cycle limit exceeded", now));
        }
        assert_eq!(logged, 6);
    }

    #[test]
    fn a_radio_that_always_says_something_else_fills_neither_the_log_nor_the_memory() {
        let (mut said, begin) = (Said::default(), begin());
        let sentences = (0..1000).map(|number| format!("Send again in {number} ms"));
        let logged = sentences.filter(|sentence| said.is_news(sentence, begin));
        assert_eq!(logged.count(), SENTENCES);
        assert_eq!(said.sentences.len(), SENTENCES);
        assert!(said.is_news("later", begin + SAID_AGAIN));
        assert_eq!(said.sentences.len(), 1);
    }
}
