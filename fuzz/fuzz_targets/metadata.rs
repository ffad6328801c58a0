#![no_main]

mod acme;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = vestibule_oidc::Metadata::parse(bytes, &acme::PROVIDER);
});
