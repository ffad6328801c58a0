//! A light HTTP/1.1 client: one connection to each address, kept open, as a browser or a back end has it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, HeaderName, LOCATION, SET_COOKIE};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::Failed;

/// What the servers are called by those who visit them.
pub const PUBLIC_URL: &str = "http://localhost:8000";
const PUBLIC_HOST: &str = "localhost:8000";
/// No answer takes longer, not even that about a provider that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Its connections.
#[derive(Default)]
pub struct Browser {
    connections: HashMap<SocketAddr, SendRequest<Full<Bytes>>>,
}

/// A whole answer.
pub struct Answer {
    pub status: StatusCode,
    headers: HeaderMap,
    pub body: Bytes,
}

/// Whom a request comes from.
#[derive(Clone, Copy)]
pub enum From<'a> {
    Nobody,
    Cookie(&'a str),
    Bearer(&'a str),
}

impl From<'_> {
    fn header(self) -> Option<(HeaderName, String)> {
        match self {
            Self::Nobody => None,
            Self::Cookie(pairs) => Some((COOKIE, pairs.to_owned())),
            Self::Bearer(token) => Some((AUTHORIZATION, format!("Bearer {token}"))),
        }
    }
}

impl Browser {
    pub async fn get(
        &mut self,
        server: SocketAddr,
        path: &str,
        from: From<'_>,
    ) -> Result<Answer, Failed> {
        let mut request = Request::get(path).header(HOST, PUBLIC_HOST);
        if let Some((name, value)) = from.header() {
            request = request.header(name, value);
        }
        self.send(server, request.body(Full::default())?).await
    }

    /// Posts a form, with this `Authorization`.
    pub async fn post(
        &mut self,
        server: SocketAddr,
        path: &str,
        authorization: &str,
        form: String,
    ) -> Result<Answer, Failed> {
        let request = Request::post(path)
            .header(HOST, PUBLIC_HOST)
            .header(AUTHORIZATION, authorization)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(form))?;
        self.send(server, request).await
    }

    async fn send(
        &mut self,
        server: SocketAddr,
        request: Request<Full<Bytes>>,
    ) -> Result<Answer, Failed> {
        let connection = self.connection(server).await?;
        let whole = async {
            let (head, body) = connection.send_request(request).await?.into_parts();
            Ok::<_, hyper::Error>(Answer {
                status: head.status,
                headers: head.headers,
                body: body.collect().await?.to_bytes(),
            })
        };
        Ok(tokio::time::timeout(PATIENCE, whole)
            .await
            .map_err(|_| format!("no answer within {PATIENCE:?}"))??)
    }

    async fn connection(
        &mut self,
        server: SocketAddr,
    ) -> Result<&mut SendRequest<Full<Bytes>>, Failed> {
        let is_open = match self.connections.get_mut(&server) {
            Some(connection) => connection.ready().await.is_ok(),
            None => false,
        };
        if !is_open {
            let stream = TcpStream::connect(server).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
            // What goes wrong with it is told to whoever sends by it.
            tokio::spawn(connection);
            self.connections.insert(server, sender);
        }
        self.connections
            .get_mut(&server)
            .ok_or_else(|| "the connection is gone".into())
    }
}

impl Answer {
    /// Where the browser is sent; an error unless this is a redirect.
    pub fn location(&self) -> Result<&str, Failed> {
        if !self.status.is_redirection() {
            return Err(format!("a redirect was expected: {}", self.told()).into());
        }
        let location = self.headers.get(LOCATION).ok_or("a redirect to nowhere")?;
        Ok(location.to_str()?)
    }

    /// The pairs of the cookies that it sets, without their attributes.
    pub fn cookies(&self) -> impl Iterator<Item = &str> {
        self.headers
            .get_all(SET_COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok()?.split(';').next())
    }

    /// The session's cookie that it sets.
    pub fn session(&self) -> Option<String> {
        self.cookies()
            .find(|pair| {
                pair.strip_prefix("vestibule_session=")
                    .is_some_and(|value| !value.is_empty())
            })
            .map(str::to_owned)
    }

    /// The body of a good answer.
    pub fn json<'a, T: serde::Deserialize<'a>>(&'a self) -> Result<T, Failed> {
        if self.status != StatusCode::OK {
            return Err(format!("200 was expected: {}", self.told()).into());
        }
        Ok(serde_json::from_slice(&self.body)?)
    }

    /// What it says, for a person.
    pub fn told(&self) -> String {
        let location = self.headers.get(LOCATION);
        let location = location.map(|value| String::from_utf8_lossy(value.as_bytes()));
        let body: String = String::from_utf8_lossy(&self.body)
            .chars()
            .take(300)
            .collect();
        format!("{} {}{body}", self.status, location.unwrap_or_default())
    }
}
