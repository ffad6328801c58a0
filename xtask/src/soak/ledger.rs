//! What was seen to succeed, and what a server says of it afterwards.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::StreamExt as _;

use super::place::email;
use super::visitor::{Act, Trouble, Visitor};

/// How many problems are kept word by word.
const KEPT: usize = 20;
/// How many facts are checked at once.
const AT_ONCE: usize = 16;
/// How often a question is asked again that nobody answers.
const TRIES: usize = 3;

/// What ought not to have happened.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    /// How many there were.
    pub count: u64,
    /// The first of them.
    pub first: Vec<String>,
}

/// One visit, as it was acknowledged. What a visit left in doubt is not here.
pub(super) struct Fact {
    pub(super) person: u32,
    pub(super) cookie: String,
    /// Whether the session was not ended.
    pub(super) lives: bool,
    pub(super) grant: Option<Grant>,
}

/// A front end's grant.
pub(super) struct Grant {
    /// The refresh token that was received last.
    pub(super) token: String,
    /// The one before it.
    pub(super) before: Option<String>,
    /// Whether it was not revoked.
    pub(super) lives: bool,
}

/// How much a check does.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(super) enum Depth {
    /// It asks, and changes nothing.
    Ask,
    /// It also uses every refresh token, and the used ones: the grants end of it.
    Use,
}

/// All facts and all problems.
#[derive(Default)]
pub(super) struct Ledger {
    facts: Mutex<Vec<Arc<Fact>>>,
    problems: Mutex<Problems>,
    /// The id of each person, as it was first told.
    ids: Mutex<HashMap<u32, String>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    pub(super) fn write(&self, fact: Fact) {
        lock(&self.facts).push(Arc::new(fact));
    }

    pub(super) fn problem(&self, what: String) {
        let mut problems = lock(&self.problems);
        problems.count += 1;
        if problems.first.len() < KEPT {
            problems.first.push(what);
        }
    }

    pub(super) fn problems(&self) -> Problems {
        lock(&self.problems).clone()
    }

    /// How many people were seen to be signed in.
    pub(super) fn people(&self) -> u32 {
        let mut people: Vec<u32> = lock(&self.facts).iter().map(|fact| fact.person).collect();
        people.sort_unstable();
        people.dedup();
        u32::try_from(people.len()).unwrap_or(u32::MAX)
    }

    /// Asks a server for all facts from this one on. How many there were.
    pub(super) async fn check(&self, visitor: &Visitor, from: usize, depth: Depth) -> usize {
        let facts: Vec<Arc<Fact>> = lock(&self.facts)[from..].to_vec();
        let count = facts.len();
        futures_util::stream::iter(facts)
            .for_each_concurrent(AT_ONCE, |fact| async move {
                let mut outcome = Ok(());
                for _ in 0..TRIES {
                    outcome = self.check_one(visitor, &fact, depth).await;
                    if !matches!(outcome, Err(Trouble::Cut { .. })) {
                        break;
                    }
                }
                if let Err(Trouble::Cut { detail, .. } | Trouble::Answer(detail)) = outcome {
                    self.problem(format!("person {}: {detail}", fact.person));
                }
            })
            .await;
        count
    }

    async fn check_one(&self, visitor: &Visitor, fact: &Fact, depth: Depth) -> Result<(), Trouble> {
        let wrong = |what: String| Err(Trouble::Answer(what));
        match (visitor.who(&fact.cookie).await?, fact.lives) {
            (None, false) => {}
            (None, true) => return wrong("an acknowledged session is lost".into()),
            (Some(_), false) => return wrong("a session lives that was ended".into()),
            (Some((id, address)), true) => {
                if address != email(fact.person) {
                    return wrong(format!("the session is that of {address}"));
                }
                let first = lock(&self.ids)
                    .entry(fact.person)
                    .or_insert_with(|| id.clone())
                    .clone();
                if first != id {
                    return wrong(format!("two users: {first} and {id}"));
                }
            }
        }
        let Some(grant) = &fact.grant else {
            return Ok(());
        };
        let is_alive = grant.lives && fact.lives;
        match (visitor.is_active(&grant.token).await?, is_alive) {
            (true, true) | (false, false) => {}
            (false, true) => return wrong("an acknowledged refresh token is lost".into()),
            (true, false) => return wrong("a grant lives that was ended".into()),
        }
        if depth == Depth::Ask {
            return Ok(());
        }
        if let Some(before) = &grant.before
            && visitor.is_active(before).await?
        {
            return wrong("a rotation is lost: the refresh token before it counts again".into());
        }
        use_grant(visitor, grant, is_alive).await
    }
}

/// Refreshes once more, and then with a token that was used long ago: RFC 9700 section 4.14.2, the whole grant ends.
async fn use_grant(visitor: &Visitor, grant: &Grant, is_alive: bool) -> Result<(), Trouble> {
    let refresh = |token: &str| Act::Refresh {
        token: token.to_owned(),
    };
    let refused = |outcome: &Result<_, Trouble>| matches!(outcome, Err(Trouble::Answer(detail)) if detail.contains("invalid_grant"));
    if !is_alive {
        return match visitor.ask(&refresh(&grant.token)).await {
            outcome if refused(&outcome) => Ok(()),
            outcome => Err(outcome
                .err()
                .unwrap_or_else(|| Trouble::Answer("a grant that was ended gives tokens".into()))),
        };
    }
    let newest = visitor.ask(&refresh(&grant.token)).await?;
    if let (Some(before), Some(newest)) = (&grant.before, newest) {
        let outcome = visitor.ask(&refresh(before)).await;
        if !refused(&outcome) {
            return Err(outcome.err().unwrap_or_else(|| {
                Trouble::Answer("a refresh token of two rotations ago gives tokens".into())
            }));
        }
        if visitor.is_active(&newest).await? {
            return Err(Trouble::Answer(
                "a refresh token was used twice, and its grant lives".into(),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::soak::drive::client;

    /// What a server says: to `/users/me`, to `/oauth/introspect` and to `/oauth/token`.
    #[derive(Clone, Copy)]
    struct Says {
        me: &'static str,
        introspection: &'static str,
        tokens: &'static str,
    }

    const HONEST: Says = Says {
        me: r#"{"id":"a","email":"person-1@example.com"}"#,
        introspection: r#"{"active":true}"#,
        tokens: r#"{"refresh_token":"next"}"#,
    };
    const NOBODY: &str = "";

    /// A server that says always the same.
    async fn visitor(says: Says) -> Visitor {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 4_096];
                let length = stream.read(&mut request).await.unwrap_or_default();
                let request = String::from_utf8_lossy(&request[..length]);
                let body = match request.split(' ').nth(1) {
                    Some("/users/me") => says.me,
                    Some("/oauth/introspect") => says.introspection,
                    _ => says.tokens,
                };
                let status = if body == NOBODY { "401 No" } else { "200 OK" };
                let answer = format!(
                    "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        let client = client().unwrap();
        Visitor { client, origin }
    }

    fn fact(lives: bool, grant_lives: bool, before: Option<&str>) -> Fact {
        Fact {
            person: 1,
            cookie: "vestibule_session=x".into(),
            lives,
            grant: Some(Grant {
                token: "now".into(),
                before: before.map(str::to_owned),
                lives: grant_lives,
            }),
        }
    }

    async fn problems(says: Says, fact: Fact, depth: Depth) -> Vec<String> {
        let ledger = Ledger::default();
        ledger.write(fact);
        assert_eq!(ledger.check(&visitor(says).await, 0, depth).await, 1);
        ledger.problems().first
    }

    #[tokio::test]
    async fn a_server_that_lost_something_or_kept_what_was_ended_is_found_out() {
        let nobody = Says {
            me: NOBODY,
            ..HONEST
        };
        let other = Says {
            me: r#"{"id":"b","email":"person-2@example.com"}"#,
            ..HONEST
        };
        let inactive = Says {
            introspection: r#"{"active":false}"#,
            ..HONEST
        };
        let rows = [
            (HONEST, fact(true, true, None), Depth::Ask, None),
            (
                nobody,
                fact(true, true, None),
                Depth::Ask,
                Some("session is lost"),
            ),
            (
                HONEST,
                fact(false, true, None),
                Depth::Ask,
                Some("a session lives that was ended"),
            ),
            (
                other,
                fact(true, true, None),
                Depth::Ask,
                Some("that of person-2"),
            ),
            (
                inactive,
                fact(true, true, None),
                Depth::Ask,
                Some("refresh token is lost"),
            ),
            (
                HONEST,
                fact(true, false, None),
                Depth::Ask,
                Some("a grant lives"),
            ),
            (
                inactive,
                fact(true, false, None),
                Depth::Use,
                Some("gives tokens"),
            ),
            (
                HONEST,
                fact(true, true, Some("before")),
                Depth::Use,
                Some("counts again"),
            ),
        ];
        for (says, fact, depth, expected) in rows {
            let found = problems(says, fact, depth).await;
            match expected {
                None => assert!(found.is_empty(), "{found:?}"),
                Some(words) => assert!(
                    found.len() == 1 && found[0].contains(words),
                    "{words}: {found:?}"
                ),
            }
        }
    }

    #[tokio::test]
    async fn one_person_with_two_users_is_found_out() {
        let ledger = Ledger::default();
        ledger.write(fact(true, true, None));
        ledger.check(&visitor(HONEST).await, 0, Depth::Ask).await;
        let twin = Says {
            me: r#"{"id":"z","email":"person-1@example.com"}"#,
            ..HONEST
        };
        ledger.check(&visitor(twin).await, 0, Depth::Ask).await;
        assert!(ledger.problems().first[0].contains("two users"));
    }
}
