#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = vestibule_jose::json::parse_object(bytes, 64 * 1024);
});
