#![no_main]

use std::sync::LazyLock;

use vestibule::parsers;

static GOOD: LazyLock<String> = LazyLock::new(parsers::good_refresh_token);

libfuzzer_sys::fuzz_target!(|text: &str| {
    assert_eq!(parsers::is_refresh_token(text), text == *GOOD);
});
