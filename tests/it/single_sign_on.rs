//! Logins by single sign-on, at a homeserver whose people log in at an identity provider.
