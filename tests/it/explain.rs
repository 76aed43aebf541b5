//! `relay config explain`: what a key is for, its value in effect, and where that was given.

use serde_json::Value;

use crate::support::relay::{Home, text_of};

#[tokio::test]
async fn a_key_is_explained_with_its_value_and_where_that_comes_from() {
    let mut home = Home::new();
    let output = home.run(["config", "explain", "meshtastic.port"]).await;
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(0), "{text}");
    for word in ["4403  (default)", "1 to 65535", "RELAY_MESHTASTIC_PORT"] {
        assert!(text.contains(word), "{word} is missing in {text}");
    }
    home.configure("meshtastic: {port: 4404}\nmatrix: {password: hunter2}\n");
    home.set_environment(("RELAY_LOGGING_LEVEL", "debug".to_owned()));
    for (key, words) in [
        ("meshtastic.port", "4404  (config.yaml:1:20)"),
        ("logging.level", "debug  (RELAY_LOGGING_LEVEL)"),
        ("matrix.password", "…  (config.yaml:2:20)"),
        ("db.path", "database.path"),
        ("meshtastic.retries", "has no meaning here"),
        ("meshtastic.backlog", "meshtastic.backlog.newest = 20"),
    ] {
        let output = home.run(["config", "explain", key]).await;
        let text = text_of(&output);
        assert_eq!(output.status.code(), Some(0), "{text}");
        assert!(text.contains(words), "{words} is missing in {text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
    let output = home
        .run(["config", "explain", "matrix.password", "--json"])
        .await;
    let told: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(
        (&told["kind"], &told["now"][0]["value"]),
        (&"key".into(), &"…".into())
    );
}

#[tokio::test]
async fn what_is_no_key_is_told_with_the_nearest_one() {
    let home = Home::new();
    let output = home.run(["config", "explain", "meshtastic.hots"]).await;
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("did you mean `meshtastic.host`?"), "{text}");
}
