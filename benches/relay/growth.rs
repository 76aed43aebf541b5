//! A figure of a large world beside that of a small one.

use serde_json::{Value, json};

use crate::figures::rounded;

/// Limit of what grows, as a multiple of the small case.
pub(crate) const GOAL: f64 = 1.5;

/// The unit of these figures.
pub(crate) const GROWTH: &str = "times the small world (the worst of what follows)";

/// Returns both values and their ratio.
pub(crate) fn beside(small: f64, large: f64) -> Value {
    json!({"small": rounded(small), "large": rounded(large), "ratio": rounded(large / small)})
}
