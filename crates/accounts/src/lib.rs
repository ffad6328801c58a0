//! Users, identities, sessions, and the one rule of who is who.
