//! What commands do beside the daemon.
