//! What the operator sees of a sign-in: one line for each outcome, with fields and without secrets or addresses.

use tracing::{info, warn};

use vestibule_accounts::UserId;
use vestibule_oidc::Provider;

use crate::attempt::Reference;
use crate::error::{Failure, Fault};

pub(crate) fn login_started(provider: &Provider, reference: &Reference) {
    tracing::debug!(event = "login.started", provider = %provider.id, r#ref = %reference);
}

pub(crate) fn login_succeeded(provider: &Provider, reference: Option<&Reference>, user: UserId) {
    info!(event = "login.succeeded", provider = %provider.id, r#ref = reference.map(tracing::field::display), user_id = %user);
}

pub(crate) fn login_failed(provider: &str, reference: Option<&Reference>, failure: &Failure) {
    let fault = match failure.code.fault() {
        Fault::Browser => "browser",
        Fault::Provider => "provider",
        Fault::Operator => "operator",
    };
    // The provider's name comes from the path here and may be anything: escaped, it keeps to one line.
    warn!(event = "login.failed", provider = %provider.escape_debug(), r#ref = reference.map(tracing::field::display), code = %failure.code, reason = failure.reason, fault, detail = %failure.operator);
}

/// A target that is not ours: the value, and the configuration that decides.
pub(crate) fn return_to_refused(value: &str) {
    let value: String = value.chars().take(200).collect();
    warn!(
        event = "return_to.refused",
        value = %value.escape_debug(),
        hint = "return_to must be a path such as /account on public_url"
    );
}
