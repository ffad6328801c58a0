//! An application with "Continue with Google": a page for everybody, and one for who is signed in.

use std::error::Error;
use std::net::SocketAddr;

use axum::{Router, response::Html, routing::get};
use tokio::net::TcpListener;
use vestibule::{CurrentUser, Vestibule};

async fn everybody() -> Html<&'static str> {
    Html(r#"<p>Hello, whoever you are. <a href="/mine">My own page</a></p>"#)
}

/// Nobody gets here without signing in: a browser is sent to the sign-in page and back, a program is answered 401.
async fn mine(user: CurrentUser) -> String {
    let name = user.name.as_deref().unwrap_or("you");
    format!("Hello, {name}. You are user {}.", user.id)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // What `.env`, the environment and `vestibule.toml` say.
    let auth = Vestibule::from_env().await?;
    let app = Router::new()
        .route("/", get(everybody))
        .route("/mine", get(mine));
    // Adds /login, /account and the rest of the sign-in; the handlers above take the person from it.
    let app = auth.add_to(app)?.with_state(auth);
    let port = std::env::var("PORT").unwrap_or("3000".into());
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // With the peer's address, by which floods of sign-ins are told apart.
    axum::serve(
        listener,
        app.into_make_service_with_connect_info::<SocketAddr>(),
    )
    .await?;
    Ok(())
}
