//! What the operator sees of a sign-in: one line for each outcome, with fields and without secrets or addresses.

use tracing::{info, warn};

use vestibule_accounts::{GrantId, UserId};
use vestibule_oidc::Provider;

use crate::admit::Admitted;
use crate::attempt::Reference;
use crate::error::{Failure, Fault};
use crate::frontend::Frontend;
use crate::oauth::token::Refusal;

pub(crate) fn login_started(provider: &Provider, reference: &Reference) {
    tracing::debug!(event = "login.started", provider = %provider.id, r#ref = %reference);
}

pub(crate) fn login_succeeded(
    provider: &Provider,
    reference: Option<&Reference>,
    admitted: &Admitted,
) {
    info!(event = "login.succeeded", provider = %provider.id, r#ref = reference.map(tracing::field::display), user_id = %admitted.signed_in.user.id, decision = admitted.decided.word, why = admitted.decided.why);
}

/// Nobody is in yet: the owner of the verified address is asked.
pub(crate) fn owner_asked(provider: &str, reference: &Reference, failure: &Failure) {
    info!(event = "login.owner_asked", provider = %provider.escape_debug(), r#ref = %reference, code = %failure.code, detail = %failure.operator);
}

/// Somebody connected an identity that had waited.
pub(crate) fn linked(provider: &str, user: UserId) {
    info!(event = "identity.linked", provider, user_id = %user);
}

/// Somebody took a way in away.
pub(crate) fn unlinked(provider: &str, user: UserId) {
    info!(event = "identity.unlinked", provider = %provider.escape_debug(), user_id = %user);
}

/// A provider did not take back what it had given.
pub(crate) fn not_revoked(provider: &str, failure: &Failure) {
    warn!(event = "provider_tokens.not_revoked", provider, code = %failure.code, reason = failure.reason, detail = %failure.operator);
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

/// Somebody signed in loaded a callback again: the back button, most likely.
pub(crate) fn login_repeated(reference: &Reference) {
    info!(event = "login.repeated", r#ref = %reference);
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

/// A front end got what it asked for.
pub(crate) fn handed_over(frontend: &Frontend, user: UserId) {
    info!(event = "handed_over", client_id = frontend.client_id, hand_off = frontend.hand_off.word(), user_id = %user);
}

/// A grant ended before its time.
pub(crate) fn grant_ended(frontend: &Frontend, grant: GrantId, reason: &'static str) {
    warn!(event = "grant.ended", client_id = frontend.client_id, grant = %grant, reason);
}

/// A request of a client was refused.
pub(crate) fn client_refused(path: &str, refusal: &Refusal) {
    warn!(event = "client.refused", path, error = refusal.error.as_str(), reason = refusal.failure.reason, detail = %refusal.failure.operator);
}

/// A front end's authorization request was refused, and it was told.
pub(crate) fn front_end_refused(frontend: &Frontend, reference: &Reference, failure: &Failure) {
    warn!(event = "front_end.refused", r#ref = %reference, client_id = frontend.client_id, code = %failure.code, reason = failure.reason, detail = %failure.operator);
}
