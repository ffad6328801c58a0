#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(started) = vestibule_oidc::Started::from_bytes(bytes) {
        assert_eq!(started.to_bytes().as_slice(), bytes);
    }
});
