#![no_main]

mod acme;

use std::sync::LazyLock;

use vestibule_oidc::jose::Timestamp;
use vestibule_oidc::{
    CallbackQuery, FlowSecret, LoginRequest, Metadata, OutboundResponse, State, start,
};

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);

static METADATA: LazyLock<Metadata> = LazyLock::new(|| {
    let issuer = acme::ISSUER;
    let text = format!(
        r#"{{"issuer":"{issuer}","authorization_endpoint":"{issuer}/a","token_endpoint":"{issuer}/t","jwks_uri":"{issuer}/k"}}"#
    );
    Metadata::parse(text.as_bytes(), &acme::PROVIDER).expect("metadata that do")
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let request = LoginRequest {
        state: State::new("a-state".into()),
        secret: FlowSecret::new([7; 32]),
        return_to: "/".into(),
        login_hint: None,
        prompt: None,
        more_scopes: Vec::new(),
        note: Vec::new(),
        now: NOW,
    };
    let (_, started) = start(&acme::PROVIDER, &METADATA, request);
    let query = CallbackQuery::parse(b"code=c&state=a-state").expect("a query");
    let callback = started
        .callback(&acme::PROVIDER, &METADATA, query, NOW)
        .expect("an answer of the attempt");
    let response = OutboundResponse {
        status: 200,
        content_type: Some("application/json".into()),
        body: bytes.to_vec(),
    };
    let _ = callback.token_response(&acme::PROVIDER, response);
});
