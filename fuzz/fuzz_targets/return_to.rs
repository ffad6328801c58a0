#![no_main]

use std::sync::LazyLock;

use url::Url;

static OURS: LazyLock<Url> = LazyLock::new(|| Url::parse("https://app.example/").expect("a URL"));

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Some(target) = vestibule::parsers::return_to(text, &OURS) {
        let url = Url::parse(&format!("https://app.example{target}")).expect("a URL");
        assert!(url.origin() == OURS.origin() && url.username().is_empty());
        let elsewhere = Url::parse("https://other.example/x").expect("a URL");
        let bare = elsewhere.join(&target).expect("a path");
        assert_eq!(bare.host_str(), Some("other.example"));
    }
});
