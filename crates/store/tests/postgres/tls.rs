//! A server behind TLS: its certificate and the name in it are always checked.

use rcgen::{CertificateParams, CertifiedIssuer, KeyPair};
use vestibule_accounts::Store as _;
use vestibule_store::{OpenMode, PostgresStore};

use crate::Place;

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(crate) async fn a_certificate_that_does_not_hold_is_never_spoken_to(place: Place) {
    let (ours, other) = (authority(), authority());
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, authority: &CertifiedIssuer<'static, KeyPair>| {
        let path = folder.path().join(name);
        std::fs::write(&path, authority.pem()).unwrap();
        path.display().to_string()
    };
    let (ours_file, other_file) = (file("ours.pem", &ours), file("other.pem", &other));
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, &ours)
        .unwrap();
    place
        .server
        .write_certificate(&certificate.pem(), &key.serialize_pem());
    let outsider = place.outsider().await;
    outsider
        .batch_execute("ALTER SYSTEM SET ssl = on")
        .await
        .unwrap();
    outsider
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .unwrap();
    // A new connection sees what the server has read.
    loop {
        let row = place.outsider().await.query_one("SHOW ssl", &[]).await;
        if row.unwrap().get::<_, &str>(0) == "on" {
            break;
        }
    }

    let open = async |host: &str, more: &str| {
        let url = place.server.url(&place.schema).replace("127.0.0.1", host);
        PostgresStore::open(&format!("{url}{more}"), &place.schema, OpenMode::Serve).await
    };
    let speaks_tls = async || {
        let row = outsider
            .query_one(
                "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = $1",
                &[&place.schema],
            )
            .await;
        row.unwrap().get::<_, bool>(0)
    };

    for mode in ["require", "verify-full"] {
        let store = open(
            "localhost",
            &format!("&sslmode={mode}&sslrootcert={ours_file}"),
        )
        .await;
        let store = store.unwrap();
        store.ready().await.unwrap();
        assert!(speaks_tls().await);
        store.close().await;
    }
    for (host, more) in [
        (
            "127.0.0.1",
            format!("&sslmode=require&sslrootcert={ours_file}"),
        ),
        (
            "localhost",
            format!("&sslmode=require&sslrootcert={other_file}"),
        ),
        (
            "localhost",
            format!("&sslmode=prefer&sslrootcert={other_file}"),
        ),
        ("localhost", "&sslmode=require".to_owned()),
    ] {
        let refused = open(host, &more).await;
        let said = refused.unwrap_err().to_string();
        assert!(said.contains("certificate"), "{host} {more}: {said}");
    }
    // Nobody asked for TLS, and nobody else hears what is said on this machine.
    open("localhost", "").await.unwrap().ready().await.unwrap();
}
