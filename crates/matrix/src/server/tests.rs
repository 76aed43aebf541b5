use std::io::{Read, Write};
use std::net::TcpListener;

use super::*;

/// Starts a server that answers `count` requests alike, and returns its address.
fn serve(count: usize, head: &'static str, body: &str) -> Url {
    answer(vec![(head, body.to_owned()); count])
}

/// Starts a server that gives these answers, one per request.
pub(crate) fn answer(answers: Vec<(&'static str, String)>) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for (head, body) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            assert!(stream.read(&mut request).unwrap() > 0);
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {head}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
            )
            .unwrap();
        }
    });
    Url::parse(&format!("http://127.0.0.1:{port}")).unwrap()
}

/// Returns whether a command that fails with this error says that its arguments are wrong.
fn is_wrong(error: &ServerError) -> bool {
    error.exit() == ExitCode::from(2)
}

#[tokio::test]
async fn plain_http_is_for_loopback_unless_allowed() {
    let beyond = Url::parse("http://matrix.example.org").unwrap();
    let refused = Server::at(beyond.clone(), false).unwrap_err();
    assert!(refused.hint().unwrap().contains("--allow-http"));
    assert!(is_wrong(&refused));
    assert!(Server::at(beyond, true).is_ok());
    for here in ["http://127.0.0.1:8008", "http://[::1]", "http://localhost"] {
        assert!(
            Server::at(Url::parse(here).unwrap(), false).is_ok(),
            "{here}"
        );
    }
}

#[tokio::test]
async fn what_is_no_address_is_said_to_be_none() {
    for wrong in [
        "",
        "@bot:example.org",
        "exa mple",
        "ftp://example.org",
        "a/b",
    ] {
        let error = Server::discover(wrong, false).await.unwrap_err();
        assert!(
            matches!(error, ServerError::BadAddress(_)),
            "{wrong}: {error}"
        );
        assert!(is_wrong(&error));
    }
}

#[tokio::test]
async fn a_web_server_is_not_taken_for_a_homeserver() {
    let url = serve(2, "200 OK", "<html>");
    let error = Server::discover(url.as_str(), false).await.unwrap_err();
    assert!(matches!(error, ServerError::NotMatrix(_, 200)), "{error}");
}

#[tokio::test]
async fn a_proxy_whose_homeserver_is_down_is_not_called_another_kind_of_server() {
    let url = serve(2, "502 Bad Gateway", "<html>");
    let error = Server::discover(url.as_str(), false).await.unwrap_err();
    assert!(matches!(error, ServerError::Failing(_, 502)), "{error}");
}

#[tokio::test]
async fn a_website_that_fails_may_still_tell_where_its_homeserver_is() {
    for head in ["404 Not Found", "502 Bad Gateway"] {
        let homeserver = serve(1, "200 OK", r#"{"versions": ["v1.1"]}"#);
        let told = json!({"m.homeserver": {"base_url": homeserver}}).to_string();
        let url = answer(vec![(head, "<html>".to_owned()), ("200 OK", told)]);
        let found = Server::discover(url.as_str(), false).await.unwrap();
        assert_eq!(found.base, homeserver);
    }
}

#[tokio::test]
async fn what_a_server_names_wrongly_is_its_own_mistake_and_not_the_persons() {
    for (named, why) in [
        ("http://matrix.example.org/", "is not encrypted"),
        ("ftp://matrix.example.org/", "is not a homeserver"),
    ] {
        let told = json!({"m.homeserver": {"base_url": named}}).to_string();
        let url = answer(vec![("404 Not Found", String::new()), ("200 OK", told)]);
        let error = Server::discover(url.as_str(), false).await.unwrap_err();
        assert_eq!(
            relay_model::Chain(&error).to_string(),
            format!("{url} names a homeserver that cannot be used: `{named}` {why}")
        );
        assert!(error.hint().is_some());
        assert!(!is_wrong(&error));
    }
}

const VERSIONS: &str = r#"{"versions": ["v1.1"]}"#;

#[tokio::test]
async fn a_name_is_followed_to_its_homeserver_also_by_a_redirect() {
    let homeserver = serve(1, "200 OK", VERSIONS);
    let told = json!({"m.homeserver": {"base_url": homeserver}}).to_string();
    let website = answer(vec![
        ("302 Found\r\nlocation: /elsewhere", String::new()),
        ("200 OK", told),
    ]);
    let nobody = Url::parse("http://127.0.0.1:1").unwrap();
    let found = Server::of_name(&website, nobody, false).await.unwrap();
    assert_eq!(found.base, homeserver);
}

#[tokio::test]
async fn a_website_that_says_nothing_of_use_does_not_hide_the_homeserver_of_its_name() {
    for (head, body) in [
        ("404 Not Found", "<html>"),
        ("200 OK", "<html>"),
        ("200 OK", "{}"),
        ("503 Away", ""),
    ] {
        let website = serve(1, head, body);
        let homeserver = serve(1, "200 OK", VERSIONS);
        let found = Server::of_name(&website, homeserver.clone(), false).await;
        assert_eq!(found.unwrap().base, homeserver);
    }
}

#[tokio::test]
async fn what_is_wrong_with_the_file_of_a_website_is_told_where_its_name_leads_nowhere() {
    for (head, body, why) in [
        ("200 OK", "<html>", "it is no JSON"),
        ("200 OK", "{}", "no `m.homeserver`"),
        ("503 Away", "", "HTTP 503"),
    ] {
        let website = serve(1, head, body);
        let shop = serve(1, "200 OK", "<html>");
        let error = Server::of_name(&website, shop, false).await.unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
        assert!(error.hint().unwrap().contains("own address"));
    }
    // One that has no such file says nothing.
    let website = serve(1, "404 Not Found", "");
    let shop = serve(1, "200 OK", "<html>");
    let error = Server::of_name(&website, shop, false).await.unwrap_err();
    assert!(matches!(error, ServerError::NotMatrix(_, 200)), "{error}");
}

#[tokio::test]
async fn an_answer_that_would_take_much_memory_is_not_read() {
    let zeros = "[0],".repeat(300_000);
    let url = serve(1, "200 OK", &format!(r#"{{"versions":[{zeros}[0]]}}"#));
    let error = Server::discover(url.as_str(), false).await.unwrap_err();
    assert!(matches!(error, ServerError::TooLarge(_)), "{error}");
}

#[tokio::test]
async fn nobody_there_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = Server::discover(&address, false).await.unwrap_err();
    assert!(matches!(error, ServerError::Unreachable(..)), "{error}");
    assert_eq!(
        relay_model::full_text(&error),
        format!(
            "cannot reach the homeserver at http://{address}/: Connection refused (os error {}); check the address \
             and the network, then try again",
            rustix::io::Errno::CONNREFUSED.raw_os_error()
        )
    );
}

#[tokio::test]
async fn a_name_that_nobody_has_is_told_once_and_without_the_layers_of_a_request() {
    // Longer than a DNS label may be, so no name server is asked.
    let name = "x".repeat(64);
    let error = Server::discover(&name, false).await.unwrap_err();
    let text = relay_model::Chain(&error).to_string();
    assert_eq!(text.matches(&name).count(), 1, "{text}");
    let cause = text.strip_prefix(&format!("cannot reach the homeserver at https://{name}/: "));
    let cause = cause.unwrap_or_else(|| panic!("{text}"));
    for layer in ["request", "client error", "dns error"] {
        assert!(!cause.contains(layer), "{text}");
    }
}

#[tokio::test]
async fn a_server_without_encryption_where_some_is_expected_is_told_so_briefly() {
    let url = serve(1, "200 OK", "{}");
    let given = format!("https://127.0.0.1:{}", url.port().unwrap());
    let error = Server::discover(&given, false).await.unwrap_err();
    let text = relay_model::Chain(&error).to_string();
    assert_eq!(text.matches("127.0.0.1").count(), 1, "{text}");
    assert!(!text.contains("request"), "{text}");
}

#[tokio::test]
async fn the_servers_wish_for_a_pause_is_told() {
    let url = serve(
        1,
        "429 Slow
retry-after: 7",
        r#"{"errcode":"M_LIMIT_EXCEEDED","error":""}"#,
    );
    let server = Server::at(url, false).unwrap();
    let error = server.get(&["v3", "login"]).await.unwrap_err();
    assert_eq!(
        relay_model::full_text(&error),
        "the homeserver limits how often this may be tried; try again in 7 s"
    );
}

#[tokio::test]
async fn a_date_that_one_of_the_clocks_has_wrong_does_not_hide_the_wish_beside_it() {
    let url = serve(
        1,
        "429 Slow
retry-after: Wed, 21 Oct 2099 07:28:00 GMT",
        r#"{"errcode":"M_LIMIT_EXCEEDED","error":"","retry_after_ms":7000}"#,
    );
    let server = Server::at(url, false).unwrap();
    let error = server.get(&["v3", "login"]).await.unwrap_err();
    assert_eq!(error.hint().unwrap(), "try again in 7 s");
    assert!(!is_wrong(&error));
}

#[tokio::test]
async fn a_name_on_loopback_needs_no_scheme() {
    let url = serve(1, "200 OK", r#"{"versions":["v1.1"]}"#);
    let name = format!("127.0.0.1:{}", url.port().unwrap());
    let server = Server::discover(&name, false).await.unwrap();
    assert_eq!(server.base, url);
}
