//! JWS, JWK and claims, strict: sign and verify, nothing else.
