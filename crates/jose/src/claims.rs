//! Checks of time and audience that all our tokens share. `now` is an argument; numbers may have fractions.

use crate::json::{ClaimError, Object};
use crate::time::Timestamp;

/// Why a token is not valid now, or not for us.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TimeError {
    /// A claim is missing or has the wrong type.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// `exp` is past.
    #[error("the token has expired")]
    Expired,
    /// `iat` is in the future.
    #[error("the token was issued in the future")]
    IssuedInFuture,
    /// `iat` is too long ago.
    #[error("the token was issued too long ago")]
    IssuedTooLongAgo,
    /// `nbf` is in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
}

/// `exp`, required: after `now - skew` (RFC 7519 section 4.1.4).
///
/// # Errors
/// Missing, wrong type, or past.
pub fn check_expiry(claims: &Object, now: Timestamp, skew_seconds: i64) -> Result<(), TimeError> {
    let exp = claims.number("exp")?.ok_or(ClaimError::Missing("exp"))?;
    if exp > seconds(now.minus_seconds(skew_seconds)) {
        Ok(())
    } else {
        Err(TimeError::Expired)
    }
}

/// `iat`, required: not after `now + skew`, and at most `max_age_seconds` ago, skew apart.
///
/// # Errors
/// Missing, wrong type, in the future, or too long ago.
pub fn check_issued(
    claims: &Object,
    now: Timestamp,
    skew_seconds: i64,
    max_age_seconds: i64,
) -> Result<(), TimeError> {
    let iat = claims.number("iat")?.ok_or(ClaimError::Missing("iat"))?;
    if iat > seconds(now.plus_seconds(skew_seconds)) {
        return Err(TimeError::IssuedInFuture);
    }
    if iat < seconds(now.minus_seconds(max_age_seconds)) {
        return Err(TimeError::IssuedTooLongAgo);
    }
    Ok(())
}

/// `nbf`, if there is one: not after `now + skew`.
///
/// # Errors
/// Wrong type, or in the future.
pub fn check_not_before(
    claims: &Object,
    now: Timestamp,
    skew_seconds: i64,
) -> Result<(), TimeError> {
    match claims.number("nbf")? {
        Some(nbf) if nbf > seconds(now.plus_seconds(skew_seconds)) => Err(TimeError::NotYetValid),
        _ => Ok(()),
    }
}

/// `aud`: one string or an array of strings, not empty (RFC 7519 section 4.1.3).
///
/// # Errors
/// Missing, empty, or any other type.
pub fn audiences(claims: &Object) -> Result<Vec<&str>, ClaimError> {
    let audiences = match claims.string("aud") {
        Ok(one) => one.into_iter().collect(),
        Err(_) => claims.strings("aud")?.unwrap_or_default(),
    };
    if audiences.is_empty() {
        Err(ClaimError::Missing("aud"))
    } else {
        Ok(audiences)
    }
}

/// Seconds with their fraction. A double holds every time until the year 285,000 to the microsecond.
#[expect(
    clippy::cast_precision_loss,
    reason = "a fraction of a microsecond decides nothing"
)]
fn seconds(time: Timestamp) -> f64 {
    time.micros() as f64 / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse_object;

    fn claims(text: &str) -> Object {
        parse_object(text.as_bytes(), 1_000).unwrap()
    }

    const NOW: Timestamp = Timestamp::from_seconds(1_000_000);

    // S41
    #[test]
    fn expiry_has_a_skew_and_nothing_wraps() {
        let check = |text| check_expiry(&claims(text), NOW, 60);
        for good in [
            r#"{"exp":999941}"#,
            r#"{"exp":999940.5}"#,
            r#"{"exp":1e300}"#,
            r#"{"exp":9007199254740993}"#,
            r#"{"exp":18446744073709551615}"#,
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            r#"{"exp":999940}"#,
            r#"{"exp":-1}"#,
            r#"{"exp":-1e300}"#,
            r#"{"exp":0}"#,
        ] {
            assert_eq!(check(bad), Err(TimeError::Expired), "{bad}");
        }
        for bad in [
            "{}",
            r#"{"exp":"1000000"}"#,
            r#"{"exp":null}"#,
            r#"{"exp":[1e10]}"#,
            r#"{"exp":true}"#,
        ] {
            assert!(matches!(check(bad), Err(TimeError::Claim(_))), "{bad}");
        }
    }

    // S41
    #[test]
    fn the_time_of_issue_is_required_and_fresh() {
        let check = |text| check_issued(&claims(text), NOW, 60, 600);
        assert_eq!(check(r#"{"iat":1000060}"#), Ok(()));
        assert_eq!(check(r#"{"iat":999400}"#), Ok(()));
        assert_eq!(check(r#"{"iat":1000061}"#), Err(TimeError::IssuedInFuture));
        assert_eq!(check(r#"{"iat":999399}"#), Err(TimeError::IssuedTooLongAgo));
        assert!(matches!(check("{}"), Err(TimeError::Claim(_))));
        assert!(matches!(
            check(r#"{"iat":"1000000"}"#),
            Err(TimeError::Claim(_))
        ));
    }

    // S41
    #[test]
    fn not_before_counts_where_it_is_given() {
        let check = |text| check_not_before(&claims(text), NOW, 60);
        assert_eq!(check("{}"), Ok(()));
        assert_eq!(check(r#"{"nbf":1000060}"#), Ok(()));
        assert_eq!(check(r#"{"nbf":1000061}"#), Err(TimeError::NotYetValid));
        assert!(matches!(check(r#"{"nbf":"1"}"#), Err(TimeError::Claim(_))));
    }

    // S39
    #[test]
    fn an_audience_is_a_string_or_strings_and_not_empty() {
        assert_eq!(audiences(&claims(r#"{"aud":"a"}"#)).unwrap(), ["a"]);
        assert_eq!(
            audiences(&claims(r#"{"aud":["a","b"]}"#)).unwrap(),
            ["a", "b"]
        );
        for bad in [
            "{}",
            r#"{"aud":[]}"#,
            r#"{"aud":1}"#,
            r#"{"aud":{"a":1}}"#,
            r#"{"aud":["a",1]}"#,
            r#"{"aud":null}"#,
        ] {
            assert!(audiences(&claims(bad)).is_err(), "{bad}");
        }
    }
}
