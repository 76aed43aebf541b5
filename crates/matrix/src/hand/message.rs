//! The content of a message that a person sends by hand.

use serde_json::{Value, json};

use super::words::{Message, Relation};
use relay_reading::{Names, Quote, read_message};

/// Builds the content of `m.room.message`.
pub(super) fn content(message: &Message) -> Value {
    let mut content = shown(message);
    match &message.relation {
        Relation::None => {}
        Relation::Reply(event) => {
            content["m.relates_to"] = json!({"m.in_reply_to": {"event_id": event}});
        }
        Relation::Thread(root) => {
            content["m.relates_to"] = json!({
                "rel_type": "m.thread", "event_id": root,
                "is_falling_back": true, "m.in_reply_to": {"event_id": root},
            });
        }
        Relation::Edit(event) => {
            let new = content.clone();
            // For clients that do not know edits.
            for key in ["body", "formatted_body"] {
                if let Some(text) = new[key].as_str() {
                    content[key] = format!("* {text}").into();
                }
            }
            content["m.new_content"] = new;
            content["m.relates_to"] = json!({"rel_type": "m.replace", "event_id": event});
        }
    }
    content
}

/// Builds what people see.
fn shown(message: &Message) -> Value {
    let kind = if message.notice { "m.notice" } else { "m.text" };
    // Nobody is mentioned by what merely looks like a name.
    let mut content = json!({"msgtype": kind, "body": message.text, "m.mentions": {}});
    if message.html {
        content["format"] = "org.matrix.custom.html".into();
        content["formatted_body"] = message.text.clone().into();
        let read = read_message("m.room.message", &content, Quote::None, &Names::new());
        if let Some((_, plain)) = read {
            content["body"] = plain.into();
        }
    }
    content
}

#[cfg(test)]
mod tests {
    use super::*;
    use relay_model::OwnedEventId;

    fn message(relation: Relation) -> Message {
        Message {
            room: "!r:example.org".to_owned(),
            text: "<b>bold</b> words".to_owned(),
            notice: false,
            html: true,
            relation,
        }
    }

    #[test]
    fn html_has_its_words_beside_it_for_clients_that_show_none() {
        let content = content(&message(Relation::None));
        assert_eq!(content["body"], "bold words");
        assert_eq!(content["formatted_body"], "<b>bold</b> words");
    }

    #[test]
    fn an_edit_holds_the_new_text_and_one_for_clients_that_know_no_edits() {
        let event = OwnedEventId::try_from("$it").unwrap();
        let content = content(&message(Relation::Edit(event)));
        assert_eq!(content["body"], "* bold words");
        assert_eq!(content["m.new_content"]["body"], "bold words");
        assert_eq!(content["m.relates_to"]["rel_type"], "m.replace");
    }
}
