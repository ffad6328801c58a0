#![no_main]

mod web;

libfuzzer_sys::fuzz_target!(|body: &[u8]| {
    let _ = web::FRONT_ENDS.client(None, body);
});
