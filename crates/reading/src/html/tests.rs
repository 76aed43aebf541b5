//! Conversion of Matrix's HTML to text.

use proptest::prelude::*;

use super::*;

fn read(html: &str) -> Option<String> {
    read_html(html, &Names::new())
}

#[test]
fn what_a_person_would_read_aloud_is_kept_and_marks_of_form_are_not() {
    for (html, text) in [
        (
            "<b>hi</b> <i>all</i>, <u>now</u> <font color=\"red\">red</font>",
            "hi all, now red",
        ),
        ("  a \n\t b<br>c<br/><br />d  ", "a b\nc\n\nd"),
        ("<p>one</p>\n<p>two</p>\n", "one\n\ntwo"),
        (
            "<p>one</p><ul><li>a</li><li>b</li></ul><p>two</p>",
            "one\n- a\n- b\ntwo",
        ),
        ("<ol><li>a</li><li><p>b</p></li></ol>", "1. a\n2. b"),
        ("<ol start=\"7\"><li>a</li><li>b</li></ol>", "7. a\n8. b"),
        (
            "<ul><li>a<ol><li>b</li><li>c</li></ol></li><li>d</li></ul>",
            "- a\n  1. b\n  2. c\n- d",
        ),
        ("<h1>Head</h1><p>text</p>", "Head\ntext"),
        (
            "<blockquote><p>one</p><p>two</p></blockquote><p>no</p>",
            "> one\n>\n> two\nno",
        ),
        (
            "<pre><code class=\"language-c\">int  a;\n\n  b();\n</code></pre>",
            "int  a;\n\n  b();",
        ),
        ("press <code>x</code> now", "press x now"),
        ("<span data-mx-spoiler>he dies</span>", "he dies"),
        (
            "<span data-mx-spoiler=\"the end\">he dies</span>",
            "(the end) he dies",
        ),
        ("at <del>five</del> six", "at ~~five~~ six"),
        (
            "10<sup>5</sup> and 1<sup>st</sup>, H<sub>2</sub>O",
            "10^5 and 1st, H2O",
        ),
        (
            "e<sup>-x</sup>, 2<sup>n+1</sup>, x<sup>n</sup>, 2<sup>2n</sup>, 10<sup>-3</sup>",
            "e^-x, 2^(n+1), x^n, 2^(2n), 10^-3",
        ),
        (
            "the 2<sup>nd</sup>, 1<sup>er</sup>, 2<sup>e</sup>, Foo<sup>™</sup>, so<sup>[1]</sup>, a<sup>see below</sup>",
            "the 2nd, 1er, 2e, Foo™, so[1], asee below",
        ),
        ("a<sub>n+1</sub>, a<sub>n</sub>", "a_(n+1), an"),
        (
            "<img data-mx-emoticon src=\"mxc://a/b\" alt=\":fox:\" title=\":fox:\"> hi",
            ":fox: hi",
        ),
        ("<img src=\"mxc://a/b\">", "[image]"),
        (
            "<span data-mx-maths=\"x^2\"><code>x^2</code></span> is",
            "x^2 is",
        ),
        ("<div data-mx-maths=\"x^2\"></div>is", "x^2\nis"),
        ("a<hr>b", "a\n\nb"),
        (
            "<table><thead><tr><th>a</th><th>b</th></tr></thead><tbody><tr><td>1</td><td>2</td></tr></tbody></table>",
            "a | b\n1 | 2",
        ),
        ("<p>hi&nbsp;</p><p>&nbsp;</p><p>you</p>", "hi\n\nyou"),
        ("&lt;b&gt; &amp; &#128512; &notit;", "<b> & 😀 ¬it;"),
        (
            "<details><summary>more</summary>text</details>",
            "more\ntext",
        ),
    ] {
        assert_eq!(read(html).as_deref(), Some(text), "{html}");
    }
}

#[test]
fn a_link_tells_its_address_once_and_one_of_matrix_never() {
    for (html, text) in [
        (
            "<a href=\"https://example.org/a\">map</a>!",
            "map (https://example.org/a)!",
        ),
        (
            "<a href=\"https://example.org/\">https://example.org</a>",
            "https://example.org",
        ),
        (
            "<a href=\"https://www.example.org/a%20b\">example.org/a b</a>",
            "example.org/a b",
        ),
        (
            "<a href=\"mailto:bob@example.org\">bob@example.org</a>",
            "bob@example.org",
        ),
        (
            "<a href=\"javascript:alert(1)\">x</a> <a>y</a> <a href=\"\">z</a>",
            "x y z",
        ),
        ("<a href=\"https://example.org\"></a>x", "x"),
        (
            "<a href=\"https://matrix.to/#/@bob:example.org\">Bob</a>: hi",
            "Bob: hi",
        ),
        (
            "<a href=\"https://matrix.to/#/@bob:example.org\">@bob:example.org</a>",
            "bob",
        ),
        (
            "<a href=\"https://matrix.to/#/%40bob%3Aexample.org\"></a> hi",
            "bob hi",
        ),
        (
            "<a href=\"matrix:u/bob:example.org\"><b>Bob [M0ABC]</b></a>",
            "Bob [M0ABC]",
        ),
        (
            "in <a href=\"https://matrix.to/#/#hill:example.org\">#hill:example.org</a>",
            "in #hill:example.org",
        ),
        (
            "<a href=\"https://matrix.to/#/!r:example.org/$e?via=a.b\">this</a>",
            "this",
        ),
        (
            "<a href=\"https://matrix.to/#/!r:example.org/$e\">https://matrix.to/#/!r:example.org/$e</a>",
            "[message]",
        ),
    ] {
        assert_eq!(read(html).as_deref(), Some(text), "{html}");
    }
}

#[test]
fn the_quote_of_a_reply_and_what_no_client_shows_are_left_out() {
    for (html, text) in [
        (
            "<mx-reply><blockquote><a href=\"https://matrix.to/#/!r/$e\">In reply to</a> x<br>y</blockquote></mx-reply>yes",
            "yes",
        ),
        ("<MX-REPLY>x</MX-REPLY> <b>yes</b>", "yes"),
        (
            "a<script>alert(1)</script><style>p {}</style><!-- c --><textarea>x</textarea>b",
            "ab",
        ),
    ] {
        assert_eq!(read(html).as_deref(), Some(text), "{html}");
    }
    for nothing in [
        "",
        " \n",
        "<p></p><br>",
        "<mx-reply>x",
        "<script>x</script>",
        "<!-- x -->",
        "&nbsp;",
    ] {
        assert_eq!(read(nothing), None, "{nothing}");
    }
}

#[test]
fn broken_html_is_read_as_far_as_it_goes() {
    for (html, text) in [
        ("<b>bold <i>both</b> slanted", "bold both slanted"),
        ("a < b > c & d", "a < b > c & d"),
        ("<p>one<p>two</div></p></ul>", "one\n\ntwo"),
        ("<li>a<li>b", "- a\n- b"),
        ("<td>a</td>", "a"),
        ("x <a href=\"https://example.org", "x"),
        ("<html><body onload=x><head><title>t</title>y", "ty"),
        ("<svg><text>s</text></svg><unknown>u</unknown>", "su"),
    ] {
        assert_eq!(read(html).as_deref(), Some(text), "{html}");
    }
}

#[test]
fn what_is_larger_or_deeper_than_people_write_is_not_read() {
    let nested = |tag: &str, depth: usize| {
        format!(
            "{}x{}",
            format!("<{tag}>").repeat(depth),
            format!("</{tag}>").repeat(depth)
        )
    };
    for tag in [
        "b",
        "div",
        "blockquote",
        "ul",
        "ol><li",
        "table><tr><td",
        "mx-reply",
        "svg",
        "template",
    ] {
        assert_eq!(read(&nested(tag, 20_000)), None, "{tag}");
        assert_eq!(read(&nested(tag, 150)), None, "{tag}");
    }
    assert_eq!(read(&nested("div", 60)).as_deref(), Some("x"));
    assert_eq!(read(&format!("<b>{}</b>", "x".repeat(LONGEST))), None);
    assert_eq!(read(&"<br>".repeat(MOST_TAGS + 1)), None);
    // Open tags that the parser opens again in each paragraph.
    let fonts = (0..MOST_TAGS / 2).map(|it| format!("<font color=\"#{it}\">"));
    let fonts = fonts.collect::<Vec<_>>().concat();
    assert_eq!(
        read(&format!("{fonts}{}", "<p>x".repeat(MOST_TAGS / 2))),
        None
    );
}

proptest! {
    #[test]
    fn no_html_makes_it_panic(pieces in proptest::collection::vec(prop_oneof![
        Just("<"), Just(">"), Just("</"), Just("/>"), Just("<p>"), Just("</p>"), Just("<br/>"), Just("<table>"),
        Just("<tr>"), Just("<td>"), Just("</table>"), Just("<b>"), Just("</b>"), Just("<a href=\"https://matrix.to/#/"),
        Just("@bob:example.org"), Just("\">"), Just("<ol start=\"-9223372036854775808\">"), Just("<li>"), Just("</ol>"),
        Just("<pre>"), Just("</pre>"), Just("\n"), Just(" "), Just("x"), Just("é"), Just("&amp;"), Just("&#0;"), Just("&"),
        Just("<svg>"), Just("<math>"), Just("<template>"), Just("</template>"), Just("<select>"), Just("<option>"),
        Just("<mx-reply>"), Just("</mx-reply>"), Just("<!--"), Just("-->"), Just("<html a=b>"), Just("<body c=d>"),
        Just("<head>"), Just("<frameset>"), Just("<form>"), Just("<input>"), Just("<script>"), Just("</script>"),
        Just("<blockquote>"), Just("<del>"), Just("</del>"), Just("<sup>"), Just("</sup>"), Just("<img alt=\"a\">"),
        Just("\0"), Just("%2F"), Just("/"), Just("<![CDATA["), Just("<?"), Just("<!DOCTYPE"), Just("<plaintext>"),
        Just("<title>"), Just("<caption>"), Just("<colgroup>"), Just("<col>"), Just("<foreignObject>"), Just("<desc>"),
        Just("<noscript>"), Just("<button>"), Just("<nobr>"), Just("<span data-mx-maths=\"\">"), Just("</span>"),
    ], 0..80)) {
        let html: String = pieces.concat();
        if let Some(text) = read(&html) {
            prop_assert!(!text.trim().is_empty());
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        drop(read(&text));
    }
}
