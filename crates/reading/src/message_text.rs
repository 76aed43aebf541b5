//! Extracts a message's text: from its HTML if there is any, else from the plain body, without quotes of replies and
//! markup. Pure; no type is trusted.

use serde_json::Value;

use super::html::read_html;
use super::links::{Names, cut, read_links};
use relay_model::RoomTextKind;

/// Maximum length of plain text that is processed, in bytes.
const LONGEST_PLAIN: usize = 32 * 1024;

/// Which quote of the answered message a plain text may begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quote {
    /// None: any quotation is the author's own.
    None,
    /// Possibly a quote in the form `> <@bob:example.org> …`, which clients add to replies.
    Perhaps,
    /// A quote, whoever is named in it.
    Reply,
}

/// Returns the kind and the text of a message; `None` if the event is no message.
pub fn read_message(
    event_type: &str,
    content: &Value,
    quote: Quote,
    names: &Names,
) -> Option<(RoomTextKind, String)> {
    let text = || text_of(content, quote, names);
    match event_type {
        "m.beacon_info"
        | "m.beacon"
        | "org.matrix.msc3672.beacon_info"
        | "org.matrix.msc3672.beacon" => {
            return Some((RoomTextKind::LiveLocation, String::new()));
        }
        "m.sticker" => return Some((RoomTextKind::Media { word: "sticker" }, String::new())),
        "m.poll.start" | "org.matrix.msc3381.poll.start" => {
            return Some((RoomTextKind::Poll, poll_question(content)?));
        }
        "m.room.message" | "m.message" | "org.matrix.msc1767.message" => {}
        _ => return None,
    }
    let media = |word| {
        let name = content["filename"].as_str();
        // A body that differs from the file name is a caption.
        let is_caption = name.is_some() && content["body"].as_str() != name;
        let caption = is_caption.then(text).flatten();
        Some((RoomTextKind::Media { word }, caption.unwrap_or_default()))
    };
    let kind = match content.get("msgtype") {
        None => "",
        // Clients only send and show strings here.
        Some(kind) => kind.as_str()?,
    };
    match kind {
        "m.emote" => Some((RoomTextKind::Emote, text()?)),
        "m.notice" | "m.server_notice" => Some((RoomTextKind::Notice, text()?)),
        "m.image" => media("image"),
        "m.video" => media("video"),
        "m.audio" if content.get("org.matrix.msc3245.voice").is_some() => media("voice"),
        "m.audio" => media("audio"),
        "m.file" => media("file"),
        "m.location" => Some((RoomTextKind::Location, place(content).or_else(text)?)),
        kind if kind.starts_with("m.key.verification.") => {
            Some((RoomTextKind::VerificationRequest, String::new()))
        }
        // A client shows an unknown type by its text.
        _ => Some((RoomTextKind::Text, text()?)),
    }
}

fn text_of(content: &Value, quote: Quote, names: &Names) -> Option<String> {
    let body = content["body"].as_str();
    let plain = body.or_else(|| extensible(content, "text/plain"));
    let is_html = content["format"] == "org.matrix.custom.html";
    let formatted = content["formatted_body"].as_str();
    let formatted = formatted
        .filter(|_| is_html || plain.is_none())
        .or_else(|| extensible(content, "text/html").filter(|_| body.is_none()));
    if let Some(text) = formatted.and_then(|html| read_html(html, names)) {
        return Some(read_links(without_quote(&text, quote), names));
    }
    let plain = without_quote(cut(plain?, LONGEST_PLAIN), quote);
    Some(without_marks(&read_links(plain, names)))
}

fn extensible<'a>(content: &'a Value, wanted: &str) -> Option<&'a str> {
    let short = match wanted {
        "text/plain" => "org.matrix.msc1767.text",
        _ => "org.matrix.msc1767.html",
    };
    let forms = ["m.text", "org.matrix.msc1767.message"];
    let forms = forms.iter().filter_map(|key| content[*key].as_array());
    let is_wanted = |form: &&Value| form["mimetype"].as_str().unwrap_or("text/plain") == wanted;
    let mut bodies = forms.flatten().filter(is_wanted);
    let body = bodies.find_map(|form| form["body"].as_str());
    body.or_else(|| content[short].as_str())
}

/// Returns a location as `lat,lon`.
fn place(content: &Value) -> Option<String> {
    let uris = [
        &content["geo_uri"],
        &content["m.location"]["uri"],
        &content["org.matrix.msc3488.location"]["uri"],
    ];
    uris.into_iter().find_map(|uri| coordinates(uri.as_str()?))
}

fn coordinates(uri: &str) -> Option<String> {
    let (scheme, rest) = uri.trim().split_once(':')?;
    if !scheme.eq_ignore_ascii_case("geo") {
        return None;
    }
    let mut parts = rest.split([';', '?']).next()?.split(',');
    let latitude: f64 = parts.next()?.trim().parse().ok()?;
    let longitude: f64 = parts.next()?.trim().parse().ok()?;
    if !(-90.0..=90.0).contains(&latitude) || !(-180.0..=180.0).contains(&longitude) {
        return None;
    }
    // Five decimals are a metre, and short enough for a packet.
    Some(format!("{latitude:.5},{longitude:.5}"))
}

fn poll_question(content: &Value) -> Option<String> {
    let poll = content.get("m.poll");
    let poll = poll.unwrap_or(&content["org.matrix.msc3381.poll.start"]);
    let question = &poll["question"];
    extensible(question, "text/plain")
        .or_else(|| question["m.text"].as_str())
        .or_else(|| question["body"].as_str())
        .map(str::to_owned)
}

/// Removes the quote that clients put before a reply.
fn without_quote(body: &str, quote: Quote) -> &str {
    let mark = match quote {
        Quote::None => return body,
        Quote::Perhaps => "@",
        Quote::Reply => "",
    };
    let marks = [format!("> <{mark}"), format!("> * <{mark}")];
    if !marks.iter().any(|it| body.starts_with(it)) {
        return body;
    }
    let mut rest = body;
    while rest.starts_with("> ") || rest.starts_with(">\n") || rest == ">" {
        rest = rest.split_once('\n').map_or("", |(_, after)| after);
    }
    rest.strip_prefix('\n').unwrap_or(rest)
}

/// Removes the marks of code and spoilers that a Markdown client leaves in the plain body.
fn without_marks(text: &str) -> String {
    if !text.contains('`') && !text.contains("||") {
        return text.to_owned();
    }
    let mut in_code = false;
    let mut lines = Vec::new();
    for line in text.split('\n') {
        if is_fence(line) {
            in_code = !in_code;
        } else if in_code {
            lines.push(line.to_owned());
        } else {
            lines.push(without_pairs(&without_pairs(line, '`'), '|'));
        }
    }
    lines.join("\n")
}

/// Returns whether a line only opens or closes a code block.
fn is_fence(line: &str) -> bool {
    line.trim()
        .strip_prefix("```")
        .is_some_and(|language| !language.contains([' ', '`']))
}

/// Removes pairs of marks that enclose text and touch no word outside: `` `x` ``, ` ```x``` `, `||x||`, but not
/// `a||b||c`.
fn without_pairs(line: &str, mark: char) -> String {
    let least = if mark == '|' { 2 } else { 1 };
    let mut text = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find(mark) {
        let (before, from) = rest.split_at(start);
        text.push_str(before);
        let behind = from.trim_start_matches(mark);
        let (marks, _) = from.split_at(from.len() - behind.len());
        let closes = |inner: &&str| !inner.is_empty() && inner.trim() == *inner;
        let is_apart = !text.ends_with(char::is_alphanumeric) && marks.len() >= least;
        let inner = behind
            .split_once(marks)
            .filter(|(_, after)| is_apart && !after.starts_with(char::is_alphanumeric))
            .map(|(inner, _)| inner)
            .filter(closes);
        if let Some(inner) = inner {
            text.push_str(inner);
            rest = behind.get(inner.len() + marks.len()..).unwrap_or_default();
        } else {
            text.push_str(marks);
            rest = behind;
        }
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests;
