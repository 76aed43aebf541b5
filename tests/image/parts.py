"""What the test of the image is made of: an engine, a terminal, a homeserver, a radio, and the guide."""

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "it/support"))
from homeserver import PASSWORD, Homeserver  # noqa: E402

SOURCE = Path(__file__).resolve().parents[2]
# How long anything is waited for, in seconds.
LIMIT = 90
# What podman says of itself on a machine without systemd.
NOISE = re.compile(r"^.*(systemd connection|cgroupv2|container not running).*\n?", re.MULTILINE)


class Failed(Exception):
    """A promise is not kept."""


def holds(fact, what: str) -> None:
    """Fails unless it is so."""
    if not fact:
        raise Failed(what)


def wait(what: str, look, limit: float = LIMIT):
    """Waits until `look` returns something, and returns that."""
    end = time.monotonic() + limit
    while True:
        found = look()
        if found:
            return found
        holds(time.monotonic() < end, f"waited {limit} s for {what}")
        time.sleep(0.1)


class Said:
    """A command that has ended: its exit code, and both outputs."""

    def __init__(self, code: int, out: str, err: str):
        self.code, self.out, self.err = code, out, NOISE.sub("", err)
        self.text = self.out + self.err

    def well(self) -> "Said":
        holds(self.code == 0, f"exit code {self.code}: {self.text[-3000:]}")
        return self

    def has(self, *words: str) -> "Said":
        for word in words:
            holds(word in self.text, f"{word!r} is not in: {self.text[-3000:]}")
        return self


class Place:
    """A folder as docs/guide/docker.md has it, in which its commands are run as they stand there.

    In place of the guide's examples come the parts of this test. `docker` is the engine, with the network of this machine, on
    whose loopback homeserver and radio are.
    """

    def __init__(self, folder: Path, engine: str):
        self.folder, self.engine = folder, engine
        self.project = f"relay-image-test-{os.getpid()}"
        self.examples: dict[str, str] = {"relay_data": f"{self.project}_data"}
        self.variables: dict[str, str] = {}
        self.guide = guide_commands()
        self.used: set[str] = set()
        self.kept_log = ""
        shutil.copy(SOURCE / "docker/compose.yaml", folder)
        self.has_compose = self.write_programs()

    def write_programs(self) -> bool:
        programs = self.folder / "programs"
        programs.mkdir()
        real = shutil.which(self.engine)
        if self.engine == "docker":
            compose = f"{real} compose"
            has_compose = subprocess.run([real, "compose", "version"], capture_output=True).returncode == 0
        else:
            compose = "podman-compose"
            self.variables["COMPOSE_PROFILES"] = "tcp,login"
            has_compose = shutil.which(compose) is not None
        compose += f" --project-name {self.project} --file compose.yaml --file test.yaml"
        # The test's own keys: the network of this machine, and a health that is asked for each second.
        check = "{interval: 1s, start_period: 0s, retries: 1, timeout: 20s}"
        services = "".join(
            f"  {name}: {{network_mode: host, healthcheck: {check}}}\n"
            for name in ["tcp", "serial", "ble", "login"]
        )
        bus = f"  ble: {{network_mode: host, volumes: ['{self.folder}/bus:/run/dbus:ro']}}\n"
        services = re.sub(r"  ble:.*\n", bus, services)
        (self.folder / "test.yaml").write_text(f"services:\n{services}")
        docker = f"""#!/bin/sh
case $1 in
    compose)
        shift
        # podman-compose wants to be told.
        for word; do case $word in tcp | serial | ble) export COMPOSE_PROFILES=$word,login ;; esac; done
        exec {compose} "$@"
        ;;
    run) shift; exec {real} run --network host "$@" ;;
    *) exec {real} "$@" ;;
esac
"""
        for name, text in [("docker", docker), ("sudo", '#!/bin/sh\nexec "$@"\n')]:
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        return has_compose

    def environment(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith(("RELAY_", "MMRELAY_"))}
        path = f"{self.folder}/programs:{os.environ['PATH']}"
        return ours | {"PATH": path, "NO_COLOR": "1"} | self.variables

    def told(self, command: str) -> str:
        """Returns a command of the guide with this test's parts in place of the examples."""
        holds(command in self.guide, f"the guide does not say: $ {command}")
        self.used.add(command)
        for example, real in self.examples.items():
            command = command.replace(example, real)
        return command

    def run(self, command: str, limit: float = LIMIT) -> Said:
        """Runs a command that is not in the guide."""
        done = subprocess.run(
            ["sh", "-c", command],
            cwd=self.folder,
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit,
        )
        return Said(done.returncode, done.stdout, done.stderr)

    def does(self, command: str) -> Said:
        """Runs a command of the guide."""
        return self.run(self.told(command))

    def at_terminal(self, command: str) -> "Terminal":
        return Terminal(command, self.folder, self.environment())

    def log(self) -> str:
        return self.run("docker logs relay").text

    def logs(self, word: str) -> str:
        """Waits for a word in the log of the container `relay`."""

        def look():
            log = self.log()
            return log if word in log else None

        return wait(f"{word!r} in the log", look)

    def health(self) -> str:
        """Returns the health of the container `relay`. Podman without systemd has to be asked for each check, and
        podman-compose does not hand on how often one may fail."""
        checked = self.run("docker healthcheck run relay") if self.engine == "podman" else None
        status = self.does("docker inspect --format '{{.State.Health.Status}}' relay").well().out.strip()
        return status if checked is None else "unhealthy" if checked.code else "healthy"

    def takes_away(self, service: str) -> None:
        """Ends the container of a service, and keeps its log."""
        self.kept_log = self.log()
        self.run(f"docker compose --profile {service} down")

    def clean_up(self) -> None:
        self.run("docker rm --force --volumes relay relay-plain")
        self.run(f"docker ps --all --quiet --filter name={self.project} | xargs -r docker rm --force --volumes")
        self.run(f"docker volume ls --quiet --filter name={self.project} | xargs -r docker volume rm --force")


def guide_commands() -> set[str]:
    """Returns the commands of the guide."""
    text = (SOURCE / "docs/guide/docker.md").read_text()
    blocks = re.findall(r"```console\n(.*?)```", text, re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    return {line.removeprefix("$ ") for line in lines if line.startswith("$ ")}


class Terminal:
    """A command at a terminal of its own, and what a person types there."""

    def __init__(self, command: str, folder: Path, environment: dict[str, str]):
        self.process, self.terminal = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            os.execvpe("sh", ["sh", "-c", f"exec {command}"], environment)
        self.shown = ""

    def sees(self, word: str) -> str:
        """Waits until a word is shown."""
        end = time.monotonic() + LIMIT
        while word not in self.shown:
            holds(time.monotonic() < end and self.read(1), f"{word!r} is not shown: {self.shown[-2000:]}")
        return self.shown

    def read(self, seconds: float) -> bool:
        """Reads what is shown; returns whether there may be more."""
        ready, _, _ = select.select([self.terminal], [], [], seconds)
        if ready:
            try:
                read = os.read(self.terminal, 4096)
            except OSError:
                return False
            self.shown += read.decode(errors="replace")
            return bool(read)
        return True

    def types(self, text: str) -> None:
        os.write(self.terminal, text.encode())

    def ends(self) -> int:
        """Waits for the end, and returns the exit code."""
        end = time.monotonic() + LIMIT
        while self.read(1):
            holds(time.monotonic() < end, f"it does not end: {self.shown[-2000:]}")
        _, status = os.waitpid(self.process, 0)
        os.close(self.terminal)
        return os.waitstatus_to_exitcode(status)


class Alice:
    """A person in Matrix, with a room in which the bot is invited."""

    def __init__(self, server: Homeserver):
        self.server, self.token, self.sent = server, server.register("alice")["access_token"], 0
        self.room = self.asks("POST", "createRoom", {})["room_id"]

    def asks(self, method: str, path: str, body=None):
        return self.server.ask(method, path, body, self.token)

    def of_room(self, *path: str) -> str:
        return "rooms/" + "/".join(urllib.parse.quote(part, safe="") for part in (self.room, *path))

    def invites(self, user: str) -> None:
        self.asks("POST", self.of_room("invite"), {"user_id": user})

    def says(self, text: str) -> None:
        self.sent += 1
        body = {"msgtype": "m.text", "body": text}
        self.asks("PUT", self.of_room("send", "m.room.message", f"t{self.sent}"), body)

    def count(self, text: str) -> int:
        """Returns how many messages of the room end with a text."""
        events = self.asks("GET", self.of_room("messages") + "?dir=b&limit=200")["chunk"]
        bodies = [event["content"].get("body", "") for event in events if event["type"] == "m.room.message"]
        return sum(body.endswith(text) for body in bodies)

    def sees(self, text: str) -> None:
        wait(f"{text!r} in the room", lambda: self.count(text))
        holds(self.count(text) == 1, f"{text!r} is in the room {self.count(text)} times")


class Radio:
    """A simulated radio outside of the container."""

    def __init__(self, command: list[str]):
        self.lines: list[dict] = []
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        threading.Thread(target=self.read, daemon=True).start()
        self.listening = wait("the radio", lambda: self.first("listening"))

    def read(self) -> None:
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def first(self, key: str):
        holds(self.process.poll() is None, "the radio has ended")
        return next((line for line in self.lines if key in line), None)

    def says(self, text: str) -> None:
        print(text, file=self.process.stdin, flush=True)

    def ids(self, text: str) -> set[int]:
        """Returns the ids of the packets with a text."""
        packets = [line["transmitted"] for line in self.lines if "transmitted" in line]
        return {packet["id"] for packet in packets if (packet.get("text") or "").endswith(text)}

    def transmits(self, text: str) -> None:
        wait(f"{text!r} on the mesh", lambda: self.ids(text))
        holds(len(self.ids(text)) == 1, f"{text!r} is on the mesh {len(self.ids(text))} times")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()
