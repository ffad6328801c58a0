//! A provider behind TLS: no certificate that does not hold, and no other name, is ever spoken to (RFC 6749 section 3.2).

#![allow(
    clippy::unwrap_used,
    reason = "a test shall fail where the machine does not do"
)]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair, date_time_ymd};
use support::{Home, SECRET, client, configuration, location};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use vestibule_devidp::DevIdp;

/// An authority that the machine trusts where it is told to.
fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// What a server shows.
struct Shown {
    name: &'static str,
    expired: bool,
}

fn acceptor(authority: &CertifiedIssuer<'static, KeyPair>, shown: &Shown) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![shown.name.to_owned()]).unwrap();
    if shown.expired {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2020, 2, 1);
    }
    let certificate = params.signed_by(&key, authority).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Takes TLS off and passes on.
async fn terminate(listener: TcpListener, acceptor: TlsAcceptor, to: SocketAddr) {
    while let Ok((stream, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(mut inside) = acceptor.accept(stream).await else {
                return;
            };
            let mut provider = TcpStream::connect(to).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut inside, &mut provider).await;
        });
    }
}

/// Begins a login at a provider that shows this: where it leads, and how often the provider was spoken to.
async fn begin(shown: Shown, trusts: bool) -> (String, u64) {
    let authority = authority();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let issuer = format!(
        "https://localhost:{}",
        listener.local_addr().unwrap().port()
    );
    let idp = DevIdp::builder()
        .issuer(issuer.clone())
        .client("client", SECRET)
        .start()
        .await
        .unwrap();
    tokio::spawn(terminate(
        listener,
        acceptor(&authority, &shown),
        idp.addr(),
    ));

    let home = Home::with(&configuration(&issuer));
    let roots = home.path().join("roots.pem");
    std::fs::write(&roots, authority.pem()).unwrap();
    let mut command = home.command(&["serve"]);
    if trusts {
        command.env("SSL_CERT_FILE", &roots);
    }
    let server = support::Server::start(command, "\"server.listening\"");
    let begun = client()
        .get(server.url("/auth/google/login"))
        .send()
        .await
        .unwrap();
    (location(&begun), idp.counters().metadata_fetches)
}

// S19
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_whose_certificate_holds_is_spoken_to() {
    let (location, asked) = begin(
        Shown {
            name: "localhost",
            expired: false,
        },
        true,
    )
    .await;
    assert!(location.contains("/authorize?"), "{location}");
    assert_eq!(asked, 1);
}

// S19
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_whose_certificate_does_not_hold_is_never_spoken_to() {
    for (what, shown, trusts) in [
        (
            "an unknown authority",
            Shown {
                name: "localhost",
                expired: false,
            },
            false,
        ),
        (
            "another name",
            Shown {
                name: "localhost.example",
                expired: false,
            },
            true,
        ),
        (
            "expired",
            Shown {
                name: "localhost",
                expired: true,
            },
            true,
        ),
    ] {
        let (location, asked) = begin(shown, trusts).await;
        assert!(
            location.contains("/error?code=provider_unavailable"),
            "{what}: {location}"
        );
        assert_eq!(asked, 0, "{what}");
    }
}
