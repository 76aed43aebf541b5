//! Mistakes of a newcomer: each is reported in plain words, with its cure.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::process::Stdio;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::support::lines::Lines;
use crate::support::relay::{Home, Relay, text_of};
use crate::support::scene::Plan;
use crate::support::user::Kind;

/// Starts a server on loopback that greets clients with these bytes, and returns its port.
async fn server(greets: &'static [u8], first_asked: bool) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("loopback has a free port");
    let port = listener.local_addr().expect("it has an address").port();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            if first_asked {
                client.readable().await.expect("the client speaks");
            }
            if client.write_all(greets).await.is_ok() {
                drop(client.shutdown().await);
            }
        }
    });
    (port, serving)
}

#[tokio::test]
async fn a_port_that_is_no_radio_is_called_what_it_is() {
    let home = Home::new();
    for (greets, first_asked, who) in [
        (
            &b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n"[..],
            false,
            "an SSH server",
        ),
        (
            b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n",
            true,
            "a web server",
        ),
        (b"\x15\x03\x01\x00\x02\x02\x46", true, "TLS"),
        (
            b"220 mail.example.org ESMTP\r\n",
            false,
            "a mail or FTP server",
        ),
        (
            b"welcome to the machine\r\n",
            false,
            "a server that is no radio",
        ),
    ] {
        let (port, _serving) = server(greets, first_asked).await;
        let (host, words) = (format!("127.0.0.1:{port}"), ["radio", "info", "--host"]);
        let output = home.run(words.into_iter().chain([host.as_str()])).await;
        let text = text_of(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        for word in [&*host, who, "not a radio", "4403"] {
            assert!(text.contains(word), "`{word}` is missing in: {text}");
        }
    }
}

/// Starts a server that waits for a line, then for the end of the request, before it answers.
async fn patient_server(answers: &'static [u8]) -> (u16, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("loopback has a free port");
    let port = listener.local_addr().expect("it has an address").port();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (mut asked, mut byte) = (Vec::new(), [0]);
            while !asked.ends_with(b"\r\n") && matches!(client.read(&mut byte).await, Ok(1..)) {
                asked.extend(byte);
            }
            if asked.ends_with(b"\r\n") && client.write_all(answers).await.is_ok() {
                drop(client.shutdown().await);
            }
        }
    });
    (port, serving)
}

#[tokio::test]
async fn a_server_that_waits_for_a_whole_request_is_called_what_it_is() {
    let (port, _serving) = patient_server(b"HTTP/1.0 400 Bad request\r\n\r\n").await;
    let host = format!("127.0.0.1:{port}");
    let output = Home::new().run(["radio", "info", "--host", &host]).await;
    let text = text_of(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("is a web server, not a radio"), "{text}");
}

#[tokio::test]
async fn a_port_that_takes_connections_and_is_silent_is_told_while_a_radio_is_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("loopback has a free port");
    let host = listener
        .local_addr()
        .expect("it has an address")
        .to_string();
    let home = Home::new();
    let mut info = home.begin(&["radio", "info", "--host", &host]);
    let expected = format!("connected ({host}), but no radio has answered yet");
    info.errors
        .first(0, "that nothing comes", |line| {
            line.contains(&expected).then_some(())
        })
        .await;
    assert_eq!(info.interrupt().await.code(), Some(1));
}

#[tokio::test]
async fn the_daemon_says_so_too_and_goes_on() {
    let stage = Plan::one_room(Kind::Plain).set_up().await;
    let (port, _serving) = server(b"SSH-2.0-OpenSSH_9.2p1\r\n", false).await;
    let config = fs::read_to_string(stage.home.path("config.yaml")).expect("it is there");
    let radio = format!("port: {}", stage.radio.port());
    stage
        .home
        .configure(&config.replace(&radio, &format!("port: {port}")));
    let relay: Relay = stage.home.spawn();
    relay.logs("is an SSH server, not a radio").await;
    relay.logs("room joined").await;
    let status = text_of(&stage.home.run(["status"]).await);
    assert!(status.contains("an SSH server"), "{status}");
    let doctor = text_of(&stage.home.run(["doctor", "--quick"]).await);
    assert!(doctor.contains("check the host and the port"), "{doctor}");
    assert!(!doctor.contains("check its power"), "{doctor}");
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_told_with_its_cure() {
    let mut home = Home::new();
    home.use_ordinary_rights();
    let text = "meshtastic:\n  host: caf";
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = [&b"\xff\xfe"[..], &utf16].concat();
    let latin = [text.as_bytes(), b"\xe9\n"].concat();
    for (bytes, words) in [
        (utf16, ["UTF-16", "save it as UTF-8"]),
        (marked, ["UTF-16", "save it as UTF-8"]),
        (latin, ["not written in UTF-8 (line 2)", "save it as UTF-8"]),
    ] {
        fs::write(home.path("config.yaml"), bytes).expect("it can be written");
        let output = home.run(["config", "check"]).await;
        let text = text_of(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    }
    fs::remove_file(home.path("config.yaml")).expect("it is there");
    fs::create_dir(home.path("config.yaml")).expect("it can be made");
    for command in [&["config", "check"][..], &["run"]] {
        let output = home.run(command).await;
        let text = text_of(&output);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("it is a directory"), "{text}");
        assert!(text.contains("hint: name the file"), "{text}");
    }
    let output = home.run(["config", "check", "--json"]).await;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let hint = report["problems"][0]["hint"].as_str();
    assert!(
        hint.is_some_and(|it| it.starts_with("name the file")),
        "{report}"
    );
}

#[tokio::test]
async fn a_directory_in_the_place_of_a_file_is_told_with_its_cure() {
    let whole = "matrix_rooms:\n  - {id: '!room:localhost', meshtastic_channel: 0}\n\
                 meshtastic: {connection_type: tcp, host: 127.0.0.1, port: 1}\n\
                 logging: {log_to_file: true}\n";
    let commands: [(&str, &[&str]); 6] = [
        ("matrix/session.json", &["auth", "status"]),
        ("matrix/session.json", &["auth", "logout", "-y"]),
        ("relay.lock", &["run"]),
        ("logs/relay.log", &["run"]),
        ("database/relay.sqlite", &["run"]),
        (
            "radio",
            &["simulate", "--listen", "127.0.0.1:0", "--replay", "radio"],
        ),
    ];
    for (name, command) in commands {
        let home = Home::new();
        home.configure(whole);
        fs::create_dir_all(home.path(name)).expect("it can be made");
        let there = home.path(name).display().to_string();
        let words = command
            .iter()
            .map(|word| if *word == name { &there } else { *word });
        let output = home.run(words).await;
        let text = text_of(&output);
        assert!(!output.status.success(), "{name} {command:?}: {text}");
        assert!(
            text.contains("hint: move the directory away"),
            "{name} {command:?}: {text}"
        );
    }
}

#[tokio::test]
async fn a_script_or_a_recording_in_utf_16_is_told_with_its_cure() {
    let home = Home::new();
    let text: Vec<u8> = "\u{feff}hello\n"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let file = home.path("file");
    fs::write(&file, text).expect("it can be written");
    let file = file.to_str().expect("a path is a text");
    for flag in ["--script", "--replay"] {
        let output = home
            .run(["simulate", "--listen", "127.0.0.1:0", flag, file])
            .await;
        let text = text_of(&output);
        assert!(!output.status.success(), "{text}");
        assert!(text.contains("UTF-16") && text.contains("UTF-8"), "{text}");
    }
}

#[tokio::test]
async fn a_line_with_the_wrong_indentation_is_told_in_plain_words() {
    let home = Home::new();
    for (text, words) in [
        (
            "meshtastic:\n    host: a\n  port: 1\n",
            "config.yaml:3:3: this line is indented less than its neighbours",
        ),
        (
            "meshtastic:\n  host: a\n    port: 1\n",
            "config.yaml:3:9: this line is indented more than its neighbours",
        ),
        (
            "meshtastic:\n  host:a\n  port: 1\n",
            "write a space after the `:`",
        ),
    ] {
        home.configure(text);
        let output = home.run(["config", "check"]).await;
        assert_eq!(output.status.code(), Some(2));
        assert!(text_of(&output).contains(words), "{}", text_of(&output));
    }
}

#[tokio::test]
async fn what_config_generate_wrote_is_not_said_to_be_finished() {
    let home = Home::new();
    assert!(home.run(["config", "generate"]).await.status.success());
    let output = home.run(["config", "check"]).await;
    let text = text_of(&output);
    assert!(
        text.contains("matrix_rooms[0].id: `#hiking:example.org` is an example"),
        "{text}"
    );
    assert!(text.contains("examples in it to be replaced"), "{text}");
    let edited = fs::read_to_string(home.path("config.yaml")).expect("it is there");
    let edited = edited.replace("#hiking:example.org", "#hiking:club.test");
    home.configure(&edited);
    let text = text_of(&home.run(["config", "check"]).await);
    let host = "meshtastic.host: `192.0.2.20` is an example";
    assert!(text.contains(host), "{text}");
    let edited = edited.replace("host: 192.0.2.20", "host: 127.0.0.1");
    home.configure(&edited.replace("#hiking:club.test", "#hiking:example.org"));
    let mut relay = home.start().await;
    relay
        .logs("matrix_rooms[0].id: `#hiking:example.org` is an example")
        .await;
    assert!(relay.stop().await.success());
    home.configure(&edited);
    let output = home.run(["config", "check"]).await;
    let text = text_of(&output);
    assert!(text.ends_with("config.yaml: no mistakes\n"), "{text}");
}

#[tokio::test]
async fn an_mmrelay_of_the_same_user_is_noticed_with_the_command_that_uses_it() {
    let mut home = Home::new();
    let user = home.path("their home");
    fs::create_dir_all(user.join(".mmrelay")).expect("it can be made");
    let path = user.join(".mmrelay/config.yaml");
    home.set_environment(("HOME", user.display().to_string()));
    let whole = "matrix_rooms:\n  - {id: '!room:localhost', meshtastic_channel: 0}\n\
                 meshtastic: {connection_type: tcp, host: 127.0.0.1}\n";
    for (theirs, command) in [(whole, "--config"), ("", "config check --config")] {
        fs::write(&path, theirs).expect("it can be written");
        let text = text_of(&home.run(["config", "check"]).await);
        let command = format!("`relay {command} '{}' --home ", path.display());
        assert!(text.contains(&command), "{text}");
        assert_eq!(
            text.contains("works as it is"),
            !theirs.is_empty(),
            "{text}"
        );
    }
    let command = format!("`relay config check --config '{}' --home ", path.display());
    for arguments in [
        &["config", "generate"][..],
        &["config", "generate", "--output", "-"],
    ] {
        let output = home.run(arguments).await;
        assert_eq!(output.status.code(), Some(0), "{}", text_of(&output));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(&command), "{said}");
    }
    assert!(home.path("config.yaml").exists());
}

#[tokio::test]
async fn a_simulated_radio_on_a_terminal_invites_to_type_and_prints_for_people() {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
        .expect("there are terminals");
    grantpt(&terminal)
        .and_then(|()| unlockpt(&terminal))
        .expect("it is ours");
    let name = ptsname(&terminal, Vec::new()).expect("it has a name");
    let name = name.to_str().expect("its name is a text");
    let mut open = OpenOptions::new();
    let open = open.read(true).write(true);
    let side = open
        .custom_flags(OFlags::NOCTTY.bits().cast_signed())
        .open(name);
    let side = side.expect("it can be opened");
    let screen = Lines::of(
        "the terminal",
        tokio::fs::File::from_std(File::from(terminal)),
    );

    let home = Home::new();
    let arguments = ["simulate", "--listen", "127.0.0.1:0", "--nodes", "2"];
    let _radio = home.begin_onto(&arguments, Stdio::from(side));
    let port = screen.first(0, "where it is", |line| {
        let (_, rest) = line.split_once("a simulated radio is at 127.0.0.1:")?;
        rest.split_once(';')?.0.parse::<u16>().ok()
    });
    let port = port.await;
    let invites = |line: &str| line.contains("type a text and press Enter").then_some(());
    screen.first(0, "the invitation", invites).await;

    let host = format!("127.0.0.1:{port}");
    let output = home.run(["radio", "nodes", "--host", &host]).await;
    let nodes = text_of(&output);
    // Heard within the last day, and not in the year in which this was written.
    assert!(!nodes.contains(" days"), "{nodes}");
    let output = home
        .run(["radio", "send", "--channel", "0", "--host", &host, "hello"])
        .await;
    assert!(output.status.success(), "{}", text_of(&output));
    let sent = |line: &str| {
        let is_it =
            line.contains("UTC  from the client on channel 0: \"hello\": the radio takes it");
        is_it.then_some(())
    };
    screen.first(0, "the text", sent).await;
    let is_json = |line: &String| line.starts_with('{');
    assert!(!screen.all().iter().any(is_json), "{}", screen.text());
}
