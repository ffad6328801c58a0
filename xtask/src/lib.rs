//! What `cargo xtask` does, for the tests too: they run a short form of each.

pub mod soak;
