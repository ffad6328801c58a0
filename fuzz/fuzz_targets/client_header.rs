#![no_main]

mod web;

libfuzzer_sys::fuzz_target!(|header: &str| {
    let _ = web::FRONT_ENDS.client(Some(header), b"");
});
