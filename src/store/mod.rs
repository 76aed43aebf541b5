//! Our own database.
