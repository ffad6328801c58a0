#![no_main]

mod web;

libfuzzer_sys::fuzz_target!(|query: &str| {
    if let Some(location) = web::FRONT_ENDS.authorization_redirect(query) {
        web::is_registered(&location);
    }
});
