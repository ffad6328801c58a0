//! Front ends for targets that need some.

use std::sync::LazyLock;

use url::Url;
use vestibule::parsers::FrontEnds;

const REGISTERED: [&str; 4] = [
    "https://app.example/cb?keep=1",
    "http://127.0.0.1/cb",
    "http://localhost:8501/",
    "com.example.app:/callback",
];

pub static FRONT_ENDS: LazyLock<FrontEnds> = LazyLock::new(|| FrontEnds::with(&REGISTERED));

/// Where a browser goes with this: to a registered redirect URI, with any port on the loopback address.
#[allow(dead_code)]
pub fn is_registered(location: &str) {
    let place = |url: &Url| {
        let port = url.port().filter(|_| url.host_str() != Some("127.0.0.1"));
        let host = url.host_str().map(str::to_owned);
        (url.scheme().to_owned(), host, port, url.path().to_owned())
    };
    let url = Url::parse(location).expect("a URL");
    assert!(url.username().is_empty() && url.password().is_none());
    let mut registered = REGISTERED.iter().map(|uri| Url::parse(uri).expect("a URL"));
    assert!(
        registered.any(|known| place(&known) == place(&url)),
        "{location:?}"
    );
}
