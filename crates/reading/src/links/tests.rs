use ruma::owned_user_id;

use super::*;

thread_local! {
    /// Number of candidates tried for the end of an address.
    pub(super) static TRIED: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

fn names() -> Names {
    HashMap::from([(owned_user_id!("@bob:example.org"), "Bob B".to_owned())])
}

#[test]
fn an_address_of_matrix_is_read_in_each_of_its_spellings() {
    let bob = LinkTarget::User(owned_user_id!("@bob:example.org"));
    let room = LinkTarget::Room("#hill:example.org".to_owned());
    for (address, target) in [
        ("https://matrix.to/#/@bob:example.org", &bob),
        (
            "http://www.matrix.to/#/@bob:example.org?via=example.org",
            &bob,
        ),
        ("https://matrix.to/#/%40bob%3Aexample.org", &bob),
        ("https://matrix.to/#/user/@bob:example.org", &bob),
        ("https://app.example.org/#/user/@bob:example.org", &bob),
        ("matrix:u/bob:example.org?action=chat", &bob),
        ("matrix:user/bob:example.org", &bob),
        ("https://matrix.to/#/#hill:example.org", &room),
        ("https://matrix.to/#/%23hill:example.org?via=a.b", &room),
        ("https://app.example.org/#/room/#hill:example.org", &room),
        ("matrix:r/hill:example.org", &room),
        (
            "https://matrix.to/#/!abc:example.org?via=a.b&via=c.d",
            &LinkTarget::NamelessRoom,
        ),
        ("https://matrix.to/#/!abc", &LinkTarget::NamelessRoom),
        (
            "matrix:roomid/abc:example.org?via=a.b",
            &LinkTarget::NamelessRoom,
        ),
        (
            "https://matrix.to/#/!abc:example.org/$event?via=a.b",
            &LinkTarget::Message,
        ),
        (
            "https://matrix.to/#/#hill:example.org/$a/b",
            &LinkTarget::Message,
        ),
        (
            "matrix:roomid/abc:example.org/e/event",
            &LinkTarget::Message,
        ),
        ("https://matrix.to/#/", &LinkTarget::Other),
        ("https://matrix.to/#///$x", &LinkTarget::Other),
        ("https://matrix.to/#/@bob", &LinkTarget::Other),
        ("https://matrix.to/#/%ff%fe", &LinkTarget::Other),
    ] {
        assert_eq!(LinkTarget::of(address).as_ref(), Some(target), "{address}");
    }
    for other in [
        "",
        "matrix:",
        "matrix:u",
        "matrix:x/y",
        "matrix:roomid/a:b/",
        "https://example.org/#/about",
        "https://example.org/#/room/lobby",
        "mailto:bob@example.org",
        "//matrix.to/#/@bob:example.org",
    ] {
        assert_eq!(LinkTarget::of(other), None, "{other}");
    }
}

#[test]
fn of_many_links_without_an_end_each_is_tried_at_a_bounded_number_of_places() {
    for piece in [
        "https://matrix.to/#/",
        "matrix:",
        "https://matrix.to/#/@a:b-",
        "matrix:u/-:-",
    ] {
        let links = 64 * 1024 / piece.len();
        TRIED.set(0);
        read_links(&piece.repeat(links), &names());
        assert!(TRIED.get() <= links * MOST_ENDS, "{piece}: {}", TRIED.get());
    }
    let text = format!("https://matrix.to/#/@{}", "-_".repeat(32 * 1024));
    TRIED.set(0);
    assert!(read_links(&text, &names()) == text);
    assert!(TRIED.get() <= MOST_ENDS, "{}", TRIED.get());
}

#[test]
fn a_link_is_read_as_its_label_and_without_one_as_what_it_leads_to() {
    for (text, read) in [
        ("[bob](https://matrix.to/#/@bob:example.org): hi", "bob: hi"),
        ("[bob](<https://matrix.to/#/@bob:example.org>)", "bob"),
        (
            "[@bob:example.org](https://matrix.to/#/@bob:example.org) hi",
            "Bob B hi",
        ),
        (
            "[@[Bob B]#1234](https://matrix.to/#/@bob:example.org) hi",
            "Bob B hi",
        ),
        (
            "ask https://matrix.to/#/@bob:example.org, or me",
            "ask Bob B, or me",
        ),
        ("ask https://matrix.to/#/@eve:example.org.", "ask eve."),
        ("(matrix:u/bob:example.org)", "(Bob B)"),
        (
            r"[Bob \[M0ABC\]](https://matrix.to/#/@bob:example.org) 73",
            "Bob [M0ABC] 73",
        ),
        (
            "[Bob [M0ABC]](https://matrix.to/#/@bob:example.org) 73",
            "Bob [M0ABC] 73",
        ),
        (
            "a [b](c) [d](https://matrix.to/#/%23hill:example.org)",
            "a [b](c) d",
        ),
        (
            "in https://matrix.to/#/#hill:example.org?via=a.b!",
            "in #hill:example.org!",
        ),
        (
            "see https://matrix.to/#/!r:example.org/$e?via=a.b&via=c.d now",
            "see [message] now",
        ),
        ("[this](https://matrix.to/#/!r:example.org/$e)", "this"),
        ("join https://matrix.to/#/!r:example.org", "join [room]"),
    ] {
        assert_eq!(read_links(text, &names()), read, "{text}");
    }
}

#[test]
fn an_address_ends_where_no_identifier_goes_on() {
    for (text, read) in [
        (
            "[https://matrix.to/#/@bob:example.org](https://matrix.to/#/@bob:example.org) hi",
            "Bob B hi",
        ),
        (
            "[https://matrix.to/#/@eve:example.org](https://matrix.to/#/@eve:example.org) hi",
            "eve hi",
        ),
        (
            "https://matrix.to/#/@bob:example.org's turn",
            "Bob B's turn",
        ),
        (
            "in https://matrix.to/#/#hill:example.org's or https://matrix.to/#/!r:example.org's",
            "in #hill:example.org's or [room]'s",
        ),
        (
            "https://matrix.to/#/!r:example.org/$e's, https://matrix.to/#/!r/$e?via=a.b—so",
            "[message]'s, [message]—so",
        ),
        ("https://matrix.to/#/@bob:example.org—hi", "Bob B—hi"),
        ("https://matrix.to/#/@bob:example.org。", "Bob B。"),
        ("https://matrix.to/#/@bob:example.org好", "Bob B好"),
        (
            "https://matrix.to/#/@bob:example.org,https://matrix.to/#/@eve:example.org:hi",
            "Bob B,eve:hi",
        ),
        (
            "https://matrix.to/#/@bob:example.org;https://matrix.to/#/@eve:example.org:8448",
            "Bob B;eve",
        ),
        (
            "https://matrix.to/#/@bob:example.org\u{200b} hi",
            "Bob B\u{200b} hi",
        ),
        (
            r#"[@Bob](https://matrix.to/#/@bob:example.org "Bob :)") hi"#,
            "@Bob hi",
        ),
        (
            "[Bob](<https://matrix.to/#/@bob:example.org> 'B') hi",
            "Bob hi",
        ),
        (
            "[Bob](https://matrix.to/#/@bob:example.org and more)",
            "Bob and more)",
        ),
        (
            "https://matrix.to/#/nobody is nothing",
            "https://matrix.to/#/nobody is nothing",
        ),
        (
            "the matrix: u/bob, xmatrix:u/bob:example.org",
            "the matrix: u/bob, xmatrix:u/bob:example.org",
        ),
        ("](https://matrix.to/#/@bob:example.org)", "](Bob B)"),
        (
            "[x](https://example.org) stays",
            "[x](https://example.org) stays",
        ),
    ] {
        assert_eq!(read_links(text, &names()), read, "{text}");
    }
}
