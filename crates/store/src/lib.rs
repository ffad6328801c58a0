//! Vestibule's storage: SQLite, and the conformance suite every store passes.
