//! What the tests of the whole share: an application with its provider, a browser that keeps cookies, and the reasons
//! that the log gives.

mod app;
mod browser;
mod imitation;
mod reasons;
mod together;
pub mod trust;

pub use crate::app::{App, Parts, Setup};
pub use crate::browser::{Answer, Browser};
pub use crate::imitation::{CLIENT_ID, Imitation, LONE_SURROGATE, Sent, Wire, imitated};
pub use crate::reasons::{log_text, reason_of};
