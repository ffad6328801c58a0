#![no_main]

mod web;

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Some((kept, _)) = vestibule::parsers::redirect_uri(text) {
        // What is compared byte for byte is what a browser goes to.
        let url = url::Url::parse(text).expect("a URL");
        assert!(kept == text && (url.as_str() == text || url.as_str() == format!("{text}/")));
    }
    for uri in web::FRONT_ENDS.matched(text) {
        web::is_registered(&uri);
    }
});
