use std::time::SystemTime;

use serde_json::json;

use super::*;

fn outcome_of(status: u16, errcode: Option<&str>) -> &'static str {
    let answer = ServerAnswer {
        status,
        errcode: errcode.map(str::to_owned),
        retry_after: (status == 429).then_some(Duration::from_secs(3)),
        message: String::new(),
    };
    match answer.outcome() {
        RoomOutcome::Sent { .. } => "sent",
        RoomOutcome::Retry {
            after: Some(_),
            limited: true,
            ..
        } => "limited",
        RoomOutcome::Retry {
            after: None,
            limited: false,
            ..
        } => "retry",
        RoomOutcome::Retry { .. } => "not in the table",
        RoomOutcome::Parked { account: true, .. } => "account parked",
        RoomOutcome::Parked { account: false, .. } => "room parked",
        RoomOutcome::Refused { .. } => "refused",
    }
}

#[test]
fn a_server_is_left_alone_as_long_as_it_wants_and_five_minutes_at_most() {
    let most = Duration::from_mins(5);
    for (wanted, granted) in [
        (Duration::ZERO, None),
        (Duration::from_nanos(1), Some(Duration::from_millis(100))),
        (Duration::from_secs(3), Some(Duration::from_secs(3))),
        (most, Some(most)),
        (most + Duration::from_millis(1), Some(most)),
        (Duration::from_hours(24 * 365), Some(most)),
        (Duration::MAX, Some(most)),
    ] {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(24);
        let delay = RetryAfter::Delay(wanted);
        assert_eq!(wish(delay, now), granted, "{wanted:?}");
        if let Some(date) = now.checked_add(wanted) {
            let date = RetryAfter::DateTime(date);
            let is_near = wanted <= most;
            assert_eq!(wish(date, now), granted.filter(|_| is_near), "{wanted:?}");
        }
        let past = RetryAfter::DateTime(SystemTime::UNIX_EPOCH);
        assert_eq!(wish(past, now), None);
    }
}

#[test]
fn whatever_stands_in_the_header_or_the_body_a_wish_has_bounds() {
    let most = Some(Duration::from_mins(5));
    let (year, seconds) = (31_536_000_000_u64, Some(Duration::from_secs(7)));
    for (header, body, granted) in [
        (None, json!(year), most),
        (None, json!(u64::MAX), None),
        (None, json!(7_000), seconds),
        (Some("31536000"), json!(7_000), most),
        (Some("18446744073709551615"), json!(7_000), most),
        (Some("7"), json!(year), seconds),
        (Some("Fri, 15 May 2015 15:34:21 GMT"), json!(7_000), None),
        (Some("Wed, 15 May 2999 15:34:21 GMT"), json!(7_000), None),
        (Some("soon"), json!(7_000), seconds),
        (Some("soon"), json!("later"), None),
        (Some("-5"), json!(-5), None),
        (Some("0"), json!(7_000), None),
        (None, json!(1e300), None),
    ] {
        let code = "M_LIMIT_EXCEEDED";
        let body = json!({"errcode": code, "error": "", "retry_after_ms": body});
        let error = answered(429, header, &body);
        assert_eq!(retry_after(&error), granted, "{header:?} {body}");
        let RoomOutcome::Retry { after, limited, .. } = outcome(&error) else {
            panic!("{body}");
        };
        assert_eq!((after, limited), (granted, true), "{header:?} {body}");
    }
    // The rate limit also applies if the renewal of the token was limited.
    let body = json!({"errcode": "M_LIMIT_EXCEEDED", "error": ""});
    let Error::Http(renewal) = answered(429, Some("7"), &body) else {
        panic!("an answer");
    };
    let renewal = RefreshTokenError::MatrixAuth(std::sync::Arc::new(*renewal));
    let error = HttpError::RefreshToken(renewal).into();
    assert_eq!(retry_after(&error), Some(Duration::from_secs(7)));
    let body = json!({"errcode": "M_UNKNOWN", "error": ""});
    let error = answered(503, Some("31536000"), &body);
    assert_eq!(retry_after(&error), None);
}

#[test]
fn only_what_is_said_of_the_login_closes_the_session() {
    for (status, code, is_refused) in [
        (401, "M_UNKNOWN_TOKEN", true),
        (403, "M_UNKNOWN_TOKEN", true),
        (401, "M_MISSING_TOKEN", true),
        (401, "M_USER_LOCKED", true),
        (403, "M_USER_DEACTIVATED", true),
        (401, "M_UNAUTHORIZED", true),
        (403, "M_FORBIDDEN", false),
        (403, "M_USER_SUSPENDED", false),
        (404, "M_NOT_FOUND", false),
        (429, "M_LIMIT_EXCEEDED", false),
        (500, "M_UNKNOWN", false),
    ] {
        let error = answered(status, None, &json!({"errcode": code, "error": "so it is"}));
        let refusal = LoginRefusal {
            keeps_device: false,
            errcode: code.to_owned(),
            message: "so it is".to_owned(),
        };
        let expected = is_refused.then_some(refusal);
        assert_eq!(refused_login(&error), expected, "{status} {code}");
    }
    // A proxy that requires its own authentication.
    assert_eq!(refused_login(&answered(401, None, &json!("no"))), None);
}

#[test]
fn every_answer_of_a_server_has_its_outcome() {
    for (status, errcode, expected) in [
        (400, Some("M_BAD_JSON"), "refused"),
        (400, Some("M_DUPLICATE_ANNOTATION"), "refused"),
        (400, Some("M_UNKNOWN"), "refused"),
        (404, Some("M_NOT_FOUND"), "refused"),
        (409, Some("M_UNKNOWN"), "refused"),
        (413, Some("M_TOO_LARGE"), "refused"),
        (400, None, "retry"),
        (404, None, "retry"),
        (401, Some("M_UNKNOWN_TOKEN"), "retry"),
        (401, Some("M_MISSING_TOKEN"), "retry"),
        (401, None, "retry"),
        (403, Some("M_FORBIDDEN"), "room parked"),
        (403, Some("M_UNKNOWN_TOKEN"), "retry"),
        (403, Some("M_USER_DEACTIVATED"), "retry"),
        (403, Some("M_USER_SUSPENDED"), "account parked"),
        (403, Some("M_RESOURCE_LIMIT_EXCEEDED"), "account parked"),
        (401, Some("M_USER_LOCKED"), "retry"),
        (404, Some("M_UNRECOGNIZED"), "retry"),
        (405, Some("M_UNRECOGNIZED"), "retry"),
        (403, None, "retry"),
        (408, Some("M_UNKNOWN"), "retry"),
        (408, None, "retry"),
        (425, Some("M_UNKNOWN"), "retry"),
        (425, None, "retry"),
        (429, Some("M_LIMIT_EXCEEDED"), "limited"),
        (429, Some("M_UNKNOWN"), "limited"),
        (429, None, "limited"),
        (500, Some("M_UNKNOWN"), "retry"),
        (502, None, "retry"),
        (503, None, "retry"),
        (520, None, "retry"),
        (200, None, "retry"),
    ] {
        assert_eq!(
            outcome_of(status, errcode),
            expected,
            "{status} {errcode:?}"
        );
    }
}
