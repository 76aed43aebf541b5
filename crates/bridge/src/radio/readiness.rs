//! What is reported of a radio once it is ready: its node, its channels, and what is wrong with its configuration.

use crate::notice::Refused;
use crate::policy;
use crate::route::{RenamedChannel, RouteProblem, Routes};
use relay_config::Config;
use relay_model::{Node, RadioProfile};

/// State of a radio that has become ready.
#[derive(Debug, Clone, PartialEq)]
pub struct Readiness {
    /// Whether this radio was not there, or was another one; not at another look at it, with another configuration.
    pub is_news: bool,
    /// The radio's own node.
    pub own: Node,
    /// Its firmware version; `None` if not reported.
    pub firmware: Option<String>,
    /// The name of the mesh as rooms are shown it.
    pub meshnet: String,
    /// The mapped channels whose name or key has changed.
    pub renamed: Vec<RenamedChannel>,
    /// What prevents relaying over it.
    pub problems: RadioProblems,
    /// The part of `problems` that is new since the radio was last ready.
    pub news: RadioProblems,
}

/// What prevents relaying over a radio.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RadioProblems {
    /// The entries of `matrix_rooms` whose channel the radio lacks, or that may not be relayed.
    pub routes: Vec<RouteProblem>,
    /// Why the radio transmits nothing; `None` if it may.
    pub silence: Option<Refused>,
}

impl RadioProblems {
    /// Returns what prevents relaying over this radio with this configuration.
    pub fn of(config: &Config, profile: &RadioProfile) -> Self {
        let mut routes = Routes::new(config.matrix_rooms.clone());
        routes.follow(profile.channels.clone());
        Self::with(&routes, config, profile)
    }

    /// Likewise, with routes that know the radio's channels.
    pub(crate) fn with(routes: &Routes, config: &Config, profile: &RadioProfile) -> Self {
        Self {
            routes: routes.problems(),
            silence: policy::check_radio(config, Some(profile)).err(),
        }
    }

    /// Returns the problems that are new: a link may flap all day.
    pub(crate) fn since(&self, before: &Self) -> Self {
        let is_new = |it: &&RouteProblem| !before.routes.contains(it);
        Self {
            routes: self.routes.iter().filter(is_new).cloned().collect(),
            silence: self.silence.filter(|_| self.silence != before.silence),
        }
    }
}
