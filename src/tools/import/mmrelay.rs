//! MMRelay's own names.

/// Of its log in a home.
pub(super) const LOGS: [&str; 2] = ["logs/mmrelay.log", "mmrelay.log"];
/// Of the variables that name its home, in order of precedence.
pub(super) const VARIABLES: [&str; 3] = ["MMRELAY_HOME", "MMRELAY_BASE_DIR", "MMRELAY_DATA_DIR"];
