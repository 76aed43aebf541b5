//! Why a message is not relayed, and who is told: `dropped` has the reasons for the log and the counters, `notice` those with
//! sentences for the author; `telling` declares both and says how often; `author_notice` tells the author.

pub(crate) mod author_notice;
pub(crate) mod dropped;
pub(crate) mod notice;
pub(crate) mod telling;
