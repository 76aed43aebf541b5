//! What people are shown of their messages' fate: signs (`feedback`) and read receipts (`receipts`). Both are wanted states,
//! not queues: a newer wish replaces an older one.

pub mod feedback;
pub mod receipts;
