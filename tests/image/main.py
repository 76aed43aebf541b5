"""Does what docs/guide/docker.md tells, on an engine, and holds what it promises. Started by scripts/image-test."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from parts import PASSWORD, SOURCE, Alice, Failed, Homeserver, Place, Radio, Terminal, holds, wait

GUIDE = (SOURCE / "docs/guide/docker.md").read_text()
# As closed in as compose.yaml has it, and without the temporary directories that podman adds.
LOCKED = "--read-only --cap-drop ALL --security-opt no-new-privileges"
RUN = f"docker run --rm {LOCKED}"
# Commands of the guide that are not run here, and why not.
NOT_RUN = {
    "cd docker": "the test is there already",
    "docker pull ghcr.io/OWNER/relay:0.1.0": "it takes a release",
    "docker tag ghcr.io/OWNER/relay:0.1.0 relay": "likewise",
    "docker compose build tcp": "scripts/image builds the image",
    "../scripts/image --binary relay": "likewise",
    "ls /dev/serial/by-id/": "there is no radio on USB",
    "stat -Lc %g /dev/serial/by-id/usb-Silicon_Labs_CP2102_USB_to_UART_Bridge_Controller_0001-if00-port0": "likewise",
    "kubectl apply -f ../packaging/kubernetes/relay.yaml": "there is no cluster; scripts/check-containers checks it",
    'echo "RELAY_BLUETOOTH_GROUP=$(getent group bluetooth | cut -d: -f3)" >> .env': "there may be no such group",
}


class Test:
    """The promises, in the order in which they are tried; each goes on where the one before has ended."""

    def __init__(self, place: Place, server: Homeserver):
        self.place, self.server = place, server
        self.alice = Alice(server)
        place.examples["https://matrix.example.org"] = server.url
        server.register("relaybot")
        run = [place.engine, "run", "--rm", "--interactive", "--network", "host", "--name", f"{place.project}-radio"]
        self.radio = Radio([*run, "relay", "simulate", "--listen", "127.0.0.1:0"])

    def configure(self, further: str = "") -> None:
        """Writes the guide's configuration, with the room and the radio of this test."""
        host, port = self.radio.listening["listening"].split(":")
        config = re.search(r" +matrix_rooms:\n(?: +.*\n)+?(?= *```)", GUIDE).group()
        config = "\n".join(line[3:] for line in config.splitlines()) + "\n"
        for example, real in [
            ("#hilltop:example.org", self.alice.room),
            ("192.0.2.20", f"{host}\n  port: {port}\n  message_delay: 2.02"),
        ]:
            holds(example in config, f"{example} is not in the guide's configuration")
            config = config.replace(example, real)
        (self.place.folder / "config/config.yaml").write_text(config + further)

    def the_image_says_what_it_is_and_is_no_roots(self):
        image = json.loads(self.place.run("docker image inspect relay").well().out)[0]
        config = image["Config"]
        holds(config["User"] == "1000:1000", config)
        holds(config["StopSignal"] in ("SIGTERM", "15"), config)
        holds(list(config["Volumes"]) == ["/data"], config)
        health = config.get("Healthcheck") or image["Healthcheck"]
        holds(health["Test"] == ["CMD", "relay", "doctor", "--quick"], health)
        version = self.place.run(f"{RUN} relay --version").well().out.split()[1]
        labels = config["Labels"]
        holds(labels["org.opencontainers.image.licenses"] == "GPL-3.0-or-later", labels)
        holds(labels["org.opencontainers.image.version"] == version, labels)
        holds(labels["org.opencontainers.image.revision"] != "unknown", labels)

    def a_volume_of_somebody_else_is_told_with_the_cure_that_helps(self):
        config = self.place.folder / "some.yaml"
        room = "matrix_rooms: [{id: '!r:localhost', meshtastic_channel: 0}]\n"
        config.write_text(room + "meshtastic: {connection_type: tcp, host: 127.0.0.1, port: 1}\n")
        for owner, mode in [(0, 0o755), (0, 0o700), (1234, 0o700)]:
            home = self.place.folder / "home"
            home.mkdir()
            os.chown(home, owner, owner)
            home.chmod(mode)
            given = f"--volume {home}:/data --volume {config}:/some.yaml:ro --env RELAY_CONFIG=/some.yaml"
            said = self.place.run(f"{RUN} {given} relay")
            holds(said.code == 1, said.text)
            said.has(f"error: the home `/data` belongs to another user (uid {owner}), and the relay runs as uid 1000")
            cure = re.search(r"`(docker run .*?)`", said.text).group(1)
            self.place.run(cure.replace("VOLUME", str(home)).replace("IMAGE", "relay")).well()
            said = self.place.run(f"{RUN} {given} relay auth status")
            holds(said.out == "not logged in: run `relay auth login --home /data`\n", said.text)
            # The configuration is as it should be: what is missing is the login.
            said = self.place.run(f"{RUN} {given} relay config generate --output /data/config.yaml").well()
            holds("another user" not in said.text, said.text)
            shutil.rmtree(home)

    def a_volume_that_belongs_to_a_group_of_the_relay_serves_with_a_folder_of_its_own(self):
        # What Kubernetes makes of `fsGroup: 1000`.
        volume = self.place.folder / "volume"
        volume.mkdir()
        os.chown(volume, 0, 1000)
        volume.chmod(0o2775)
        given = f"--volume {volume}:/data --env RELAY_HOME=/data/relay"
        said = self.place.run(f"{RUN} {given} relay config generate").well()
        holds(said.err.count("\n") == 0, said.text)
        holds((volume / "relay").stat().st_mode & 0o777 == 0o700, "the home is its owner's alone")

    def a_configuration_is_checked(self):
        self.place.does("mkdir config").well()
        (self.place.folder / "config/config.yaml").write_text("meshtastic: {hots: 127.0.0.1}\n")
        said = self.place.does("docker compose run --rm tcp config check")
        holds(said.code == 2, said.text)
        said.has("did you mean `host`?")
        self.place.does("docker compose run --rm -T tcp config generate --output - > config/sample.yaml").well()
        sample = (self.place.folder / "config/sample.yaml").read_text()
        holds(sample.startswith("# yaml-language-server") and "matrix_rooms:" in sample, sample[:300])
        # Unhealthy as soon as the radio is away.
        self.configure("health: {radio_away: 2s}\n")
        self.place.does("docker compose run --rm tcp config check").well()

    def log_in(self, command: str) -> Terminal:
        terminal = self.place.at_terminal(self.place.told(command))
        terminal.sees("Password of relaybot")
        return terminal

    def a_login_at_a_terminal_that_is_given_up_leaves_nothing(self):
        login = self.log_in(
            "docker compose run --rm tcp auth login --homeserver https://matrix.example.org --username relaybot"
        )
        begun = time.monotonic()
        login.types("\x03")
        holds(login.ends() != 0, login.shown)
        holds(time.monotonic() - begun < 5, "Ctrl-C takes its time")
        holds("not logged in" in self.place.run("docker compose run --rm tcp auth status").text, "no login")

    def a_login_at_a_terminal_shows_the_recovery_key_and_not_the_password(self):
        login = self.log_in(
            "docker run --rm -it --volume relay_data:/data relay auth login --homeserver https://matrix.example.org "
            "--username relaybot"
        )
        login.types(f"{PASSWORD}\r")
        holds(login.ends() == 0, login.shown)
        holds("ecovery key" in login.shown and PASSWORD not in login.shown, login.shown)

    def the_relay_starts_and_is_healthy(self):
        self.alice.invites("@relaybot:localhost")
        self.place.does("docker compose up -d tcp").well()
        self.place.logs("messages can cross")
        self.place.does("docker compose logs tcp").well().has("messages can cross")
        wait("a healthy container", lambda: self.place.health() == "healthy")
        self.place.does("docker exec relay relay status").well().has("radio", "@relaybot:localhost")
        self.place.does("docker exec relay relay doctor").well().has("healthy")
        self.place.does("docker logs --since 1h relay").well().has("relay is ready")

    def it_is_as_closed_in_as_the_file_says(self):
        container = json.loads(self.place.run("docker container inspect relay").well().out)[0]
        host = container["HostConfig"]
        holds(host["ReadonlyRootfs"], host)
        holds(host["SecurityOpt"] and "no-new-privileges" in host["SecurityOpt"][0], host["SecurityOpt"])
        holds(host["RestartPolicy"]["Name"] == "unless-stopped", host["RestartPolicy"])
        status = self.place.run("docker exec relay cat /proc/1/status").well().out
        none = "0" * 16
        for line in ["Uid:\t1000\t1000\t1000\t1000", f"CapEff:\t{none}", f"CapBnd:\t{none}", "NoNewPrivs:\t1"]:
            holds(line in status, f"{line} is not in {status}")

    def a_text_crosses_both_ways(self):
        self.alice.says("hello from the room")
        self.radio.transmits("hello from the room")
        self.radio.says("hello from the hill")
        self.alice.sees("hello from the hill")

    def a_new_start_with_the_same_volume_loses_nothing_and_doubles_nothing(self):
        begun = time.monotonic()
        self.place.does("docker compose stop tcp").well()
        took = time.monotonic() - begun
        state = json.loads(self.place.run("docker container inspect relay").out)[0]["State"]
        holds(state["ExitCode"] == 0, state)
        log = self.place.log()
        # From the first line of the stop to the last one: the rest of the time is the engine's.
        first = re.search(r"(\S+)Z .*asked to stop", log).group(1)
        last = re.search(r"(\S+)Z .*relay ends", log).group(1)
        of_relay = seconds(last) - seconds(first)
        holds(of_relay < 1, f"the relay took {of_relay:.2f} s to stop")
        print(f"    stopped in {of_relay:.2f} s, with the engine {took:.2f} s")
        self.alice.says("said while it was stopped")
        self.place.does("docker compose start tcp").well()
        self.radio.transmits("said while it was stopped")
        self.place.run("docker kill --signal KILL relay").well()
        self.alice.says("said while it was dead")
        # The engine may have done so already: the container is to run unless it was stopped.
        self.place.run("docker start relay")
        self.radio.transmits("said while it was dead")
        self.radio.says("the hill after the start")
        self.alice.sees("the hill after the start")
        for text in ["hello from the hill", "the hill after the start"]:
            self.alice.sees(text)
        for text in ["hello from the room", "said while it was stopped", "said while it was dead"]:
            self.radio.transmits(text)

    def a_radio_that_is_away_makes_it_unhealthy_until_it_is_back(self):
        self.radio.says('{"fault": "away", "seconds": 15}')
        wait("an unhealthy container", lambda: self.place.health() == "unhealthy")
        wait("a healthy container", lambda: self.place.health() == "healthy")

    def a_changed_configuration_is_followed(self):
        self.configure("matrix: {prefix_format: '<{short}> '}\n")
        self.place.does("docker kill --signal HUP relay").well()
        self.place.logs("the configuration was read again")
        self.place.does("docker compose restart tcp").well()
        self.radio.says("after the change")
        self.alice.sees("> after the change")

    def nothing_is_written_outside_of_its_volume(self):
        volumes = self.place.told("docker compose stop tcp")
        self.place.run(volumes).well()
        data = self.place.examples["relay_data"]
        given = f"--volume {data}:/data --volume ./config:/config:ro --env RELAY_CONFIG=/config/config.yaml"
        changes = []
        # Without the protection of a file system that cannot be written.
        for command in ["run --detach --name relay-plain", "create --name relay-plain"]:
            self.place.run(f"docker {command} {given} relay").well()
            if command.startswith("run"):
                wait(
                    "a start without protection",
                    lambda: "messages can cross" in self.place.run("docker logs relay-plain").text,
                )
                self.radio.says("heard without protection")
                self.alice.sees("heard without protection")
                self.place.run("docker stop relay-plain").well()
            changes.append(set(self.place.run("docker diff relay-plain").well().out.splitlines()))
            self.place.run("docker rm --volumes relay-plain").well()
        started, made = changes
        # What the engine itself makes at a start.
        of_engine = re.compile(r"[AC] /(dev|etc|proc|run|sys|config|data|etc/mtab|etc/hosts|etc/resolv.conf|run/.*)$")
        written = {line for line in started - made if not of_engine.match(line)}
        holds(not written, f"written outside of the volume: {written}")

    def a_backup_brings_everything_back(self):
        self.place.does(
            "docker run --rm --volume relay_data:/data --entrypoint tar relay -C /data -cf - . > relay-backup.tar"
        ).well()
        self.place.run("docker compose --profile tcp down --volumes").well()
        self.place.does(
            "docker run --rm --interactive --volume relay_data:/data --entrypoint tar relay -C /data -xf - "
            "< relay-backup.tar"
        ).well()
        run = next(command for command in self.place.guide if command.startswith("docker run --detach"))
        self.place.does(run).well()
        self.place.logs("messages can cross")
        self.radio.says("after the backup")
        self.alice.sees("after the backup")
        self.place.run("docker rm --force --volumes relay").well()

    def a_folder_of_root_is_given_to_the_relay_as_the_guide_tells(self):
        (self.place.folder / "data").mkdir()
        os.chown(self.place.folder / "data", 0, 0)
        for command in self.place.guide:
            if "--entrypoint chown" in command:
                self.place.does(command).well()
        holds((self.place.folder / "data").stat().st_uid == 1000, "the folder belongs to the relay")

    def a_radio_on_a_serial_port_of_the_host_is_used(self):
        place = self.place
        # The simulated port is a pseudo-terminal of this machine, so that this radio cannot run in a container.
        made = place.run("docker create --name relay-plain relay").well()
        place.run("docker cp relay-plain:/usr/local/bin/relay simulator && docker rm --volumes relay-plain").well()
        holds(made.out, made.text)
        if place.run("./simulator --version").code != 0:
            return "the program does not run outside of its container here"
        radio = Radio([str(place.folder / "simulator"), "simulate", "--seed", "2", "--pty", str(place.folder / "port")])
        try:
            port = radio.listening["pty"]
            os.chown(port, 0, 4321)
            os.chmod(port, 0o660)
            (place.folder / ".env").write_text(f"RELAY_SERIAL_PORT={port}\nRELAY_SERIAL_GROUP=4321\n")
            place.does("docker compose up -d serial").well()
            place.logs("messages can cross")
            radio.says("over the serial port")
            self.alice.sees("over the serial port")
        finally:
            place.takes_away("serial")
            radio.stop()
            (place.folder / ".env").unlink()

    def the_message_bus_of_the_host_is_reached(self):
        place = self.place
        if shutil.which("dbus-daemon") is None:
            return "there is no dbus-daemon"
        bus = place.folder / "bus"
        bus.mkdir()
        place.folder.chmod(0o755)
        all_may = '<allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>'
        policy = f'<policy context="default">{all_may}</policy>'
        listen = f"<listen>unix:path={bus}/system_bus_socket</listen><auth>EXTERNAL</auth>"
        (bus / "bus.conf").write_text(f"<busconfig>{listen}{policy}</busconfig>")
        command = ["dbus-daemon", "--nofork", f"--config-file={bus}/bus.conf"]
        daemon = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            wait("the message bus", (bus / "system_bus_socket").exists)
            self.configure()
            with open(place.folder / "config/config.yaml", "a") as config:
                config.write("  ble_address: C0:FF:EE:00:12:34\n")
            place.does("docker compose up -d ble").well()
            # It was let in, and asked for the service, which is not there.
            place.logs("the Bluetooth service does not answer")
            print("    " + next(line for line in place.log().splitlines() if "Bluetooth service does not" in line))
        finally:
            place.takes_away("ble")
            daemon.terminate()
            daemon.wait()

    def a_login_is_ended_and_all_is_taken_away(self):
        self.configure()
        self.place.does("docker compose up -d tcp").well()
        self.place.logs("messages can cross")
        self.place.does("docker compose stop tcp").well()
        logout = self.place.at_terminal(self.place.told("docker compose run --rm tcp auth logout"))
        logout.sees("[y/N]")
        logout.types("y\r")
        logout.sees("Password")
        logout.types(f"{PASSWORD}\r")
        holds(logout.ends() == 0, logout.shown)
        self.place.does("docker compose --profile tcp down --volumes").well()

    def a_login_without_a_terminal_takes_the_password_from_a_secret(self):
        self.second_account("second")
        password = self.place.folder / "password"
        password.write_text(f"{PASSWORD}\n")
        password.chmod(0o600)
        said = self.place.run("docker compose run --rm -T login")
        holds(said.code == 2, said.text)
        said.has("belongs to uid 0: give it to the relay with `chown 1000`")
        self.place.does("sudo chown 1000 password").well()
        self.place.does("sudo chmod 400 password").well()
        self.place.does("docker compose run --rm -T login").well()
        self.place.does("docker compose up -d tcp").well()
        self.place.logs("messages can cross")
        self.place.does("docker exec relay cat /data/matrix/recovery.key > recovery.key").well()
        self.place.does("docker exec relay rm /data/matrix/recovery.key").well()
        holds((self.place.folder / "recovery.key").read_text().strip(), "the recovery key is taken out")
        self.radio.says("after a login without a terminal")
        self.alice.sees("after a login without a terminal")
        self.place.run("docker compose --profile tcp down --volumes").well()

    def a_first_start_logs_in_by_the_environment_alone(self):
        # As packaging/kubernetes/relay.yaml has it.
        self.second_account("third")
        data = self.place.examples["relay_data"]
        file = "/run/secrets/relay/password"
        secret = f"--volume ./password:{file}:ro --env RELAY_MATRIX_PASSWORD_FILE={file}"
        given = f"--volume {data}:/data --volume ./config:/config:ro --env RELAY_CONFIG=/config/config.yaml {secret}"
        self.place.run(f"docker run --detach --name relay {LOCKED} {given} relay").well()
        self.place.logs("messages can cross")
        self.radio.says("after a first start")
        self.alice.sees("after a first start")
        holds("WARN" not in self.place.log().split("relay starts")[0], self.place.log())

    def the_add_on_of_home_assistant_hands_its_options_to_the_relay(self):
        place = self.place
        place.run("docker rm --force --volumes relay").well()
        form = "--format docker" if place.engine == "podman" else "--network host"
        addon = SOURCE / "packaging/home-assistant/relay"
        built = place.run(f"docker build {form} --tag {place.project}-add-on {addon}", limit=300)
        if built.code != 0:
            return f"it cannot be built here: {built.text[-300:]}"
        self.server.register("fourth")
        self.alice.invites("@fourth:localhost")
        host, port = self.radio.listening["listening"].split(":")
        options = {
            "homeserver": self.server.url,
            "bot_user_id": "@fourth:localhost",
            "password": PASSWORD,
            "rooms": [{"room": self.alice.room, "channel": 0}],
            "connection_type": "tcp",
            "host": host,
        }
        data = place.folder / "add-on"
        data.mkdir()
        (data / "options.json").write_text(json.dumps(options))
        given = f"--volume {data}:/data --env RELAY_MESHTASTIC_PORT={port}"
        place.run(f"docker run --detach --name relay {given} {place.project}-add-on").well()
        place.logs("messages can cross")
        self.radio.says("by way of the add-on")
        self.alice.sees("by way of the add-on")
        status = place.run("docker exec relay cat /proc/1/status").well().out
        holds("Uid:\t1000\t1000\t1000\t1000" in status, status)
        holds(place.run("docker exec relay relay doctor --quick").code == 0, "it is healthy")
        place.run(f"docker rm --force --volumes relay && docker rmi {place.project}-add-on").well()

    def second_account(self, name: str) -> None:
        """Names another account in the configuration, by the lines that the guide has for that, and invites it."""
        self.server.register(name)
        self.alice.invites(f"@{name}:localhost")
        lines = re.search(r"```yaml\n(matrix:\n.*?)```", GUIDE, re.DOTALL).group(1)
        lines = lines.replace("https://matrix.example.org", self.server.url)
        lines = lines.replace("@relaybot:example.org", f"@{name}:localhost")
        self.configure(lines)

    def every_command_of_the_guide_was_run(self):
        left = self.place.guide - self.place.used - NOT_RUN.keys()
        holds(not left, f"not run: {left}")


def seconds(stamp: str) -> float:
    """Returns the seconds since midnight of a time as the log has it."""
    hours, minutes, rest = stamp.split("T")[1].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest)


KINDS = ("a_", "the_", "it_", "nothing_", "every_")
PROMISES = [value for name, value in vars(Test).items() if name.startswith(KINDS)]


def main() -> int:
    engine = sys.argv[1]
    if os.geteuid() != 0:
        print("error: this needs root, as it gives files to other users\nhint: use sudo")
        return 1
    with tempfile.TemporaryDirectory(prefix="relay-image-") as folder:
        Path(folder).chmod(0o755)
        (Path(folder) / "place").mkdir()
        place = Place(Path(folder) / "place", engine)
        if not place.has_compose:
            print(f"error: there is no Compose for {engine}")
            print("hint: install the plugin `docker compose`, or `pip install podman-compose`")
            return 1
        server = Homeserver(Path(folder) / "homeserver")
        test = None
        passed = failed = skipped = 0
        try:
            test = Test(place, server)
            for promise in PROMISES:
                name = promise.__name__.replace("_", " ")
                begun = time.monotonic()
                reason = promise(test)
                if reason:
                    skipped += 1
                    print(f"SKIPPED {name}: {reason}", flush=True)
                else:
                    passed += 1
                    print(f"ok {name} ({time.monotonic() - begun:.1f} s)", flush=True)
        except Exception as error:
            failed += 1
            print(f"FAILED {name if test else 'the start'}: {error}", flush=True)
            if not isinstance(error, Failed):
                traceback.print_exc(file=sys.stdout)
            print("--- the last lines of the container:\n" + (place.kept_log or place.log())[-4000:])
        finally:
            if test:
                test.radio.stop()
            server.stop()
            place.clean_up()
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


sys.exit(main())
