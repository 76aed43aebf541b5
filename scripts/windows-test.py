"""Tries a relay for Windows under Wine; `scripts/windows-test` sets up what it needs.

Two relays stand in one encrypted room, each with a simulated radio of its own, so that what is said on one mesh comes to the
other through the room, and each of them encrypts and decrypts. All four programs are the same `relay.exe`.
"""

import fcntl
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import tempfile
import termios
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests/it/support"))
from homeserver import PASSWORD, Homeserver  # noqa: E402

# Seconds in which something has to happen; Wine is slow, and so is a machine that builds.
LIMIT = 180
# Nothing of ours in the relay's environment.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith(("RELAY_", "MMRELAY_"))}
ENVIRONMENT["NO_COLOR"] = "1"
NODE = "!0a0b0c01"
# What is said of a home that is not in the user's own profile.
OPEN = "others on this computer may be able to read"


def well(what: str) -> None:
    print(f"ok  {what}", flush=True)


def must(what: str, it_holds, told: str = "") -> None:
    if not it_holds:
        sys.exit(f"error: not so: {what}\n{told}")
    well(what)


def until(what: str, holds, told=lambda: ""):
    """Waits for something, and returns it."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if found := holds():
            well(what)
            return found
        time.sleep(0.3)
    sys.exit(f"error: not within {LIMIT} s: {what}\n{told()}")


def own_terminal() -> None:
    """Makes standard input the terminal from which Ctrl-C comes."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Console:
    """A program in a console: what it writes, and what is typed."""

    def __init__(self, command: list, directory: Path):
        ours, its = pty.openpty()
        # No line is broken.
        termios.tcsetwinsize(its, (50, 500))
        streams = {"stdin": its, "stdout": its, "stderr": its, "start_new_session": True}
        self.process = subprocess.Popen(command, cwd=directory, env=ENVIRONMENT, preexec_fn=own_terminal, **streams)
        os.close(its)
        self.terminal, self.shown = ours, ""
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        try:
            while some := os.read(self.terminal, 4096):
                self.shown += some.decode(errors="replace")
        except OSError:
            pass

    def text(self) -> str:
        """What was written, without what moves and colours."""
        return re.sub(r"\x1b(?:\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[=>])", "", self.shown)

    def sees(self, what: str, words: str) -> None:
        until(what, lambda: words in self.text(), self.text)

    def types(self, keys: str) -> None:
        os.write(self.terminal, keys.encode())

    def ends(self, what: str, code: int) -> None:
        until(f"{what} (exit code {code})", lambda: self.process.poll() is not None, self.text)
        must(f"that exit code is {code}", self.process.returncode == code, f"{self.process.returncode}\n{self.text()}")


class Relay:
    """A relay with a home, a bot and a radio of its own."""

    def __init__(self, name: str, program: Path, directory: Path, homeserver: Homeserver):
        self.name, self.program, self.directory = name, program, directory
        self.bot = homeserver.register(f"{name}-bot")["user_id"]
        self.home = directory / name
        self.home.mkdir(mode=0o700)
        command = ["wine", program, "simulate", "--listen", "127.0.0.1:0", "--nodes", "2", "--seed", str(len(name))]
        self.radio = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        self.port = int(json.loads(self.radio.stdout.readline())["listening"].rsplit(":", 1)[1])
        self.packets: dict[int, str] = {}
        threading.Thread(target=self.listen, daemon=True).start()
        self.console: Console | None = None

    def listen(self) -> None:
        for line in self.radio.stdout:
            packet = json.loads(line).get("transmitted")
            if packet:
                # Each packet is told several times, as what became of it.
                self.packets[packet["id"]] = packet.get("text") or ""

    def command(self, *words: str) -> list:
        # The home's name is relative: the relay makes a path of Windows of it.
        return ["wine", self.program, "--home", self.home.name, *words]

    def moves(self, to: str) -> None:
        """Takes another home, with the same configuration and nothing else."""
        config = (self.home / "config.yaml").read_bytes()
        self.home = self.directory / to
        self.home.mkdir(mode=0o700)
        (self.home / "config.yaml").write_bytes(config)

    def run(self, *words: str, **options) -> subprocess.CompletedProcess:
        return subprocess.run(
            self.command(*words), cwd=self.directory, check=False, capture_output=True, timeout=LIMIT, env=ENVIRONMENT, **options
        )

    def does(self, *words: str, **options) -> str:
        done = self.run(*words, **options)
        told = (done.stdout + done.stderr).decode(errors="replace")
        must(f"{self.name}: relay {' '.join(words[:2])}", done.returncode == 0, told)
        return told

    def configure(self, room: str, other: str) -> None:
        config = f"""\
matrix_rooms:
  - id: "{room}"
    meshtastic_channel: 0
meshtastic:
  connection_type: tcp
  host: 127.0.0.1
  port: {self.port}
  meshnet_name: {self.name}
matrix:
  trusted_relays: ["{other}"]
logging:
  log_to_file: true
  max_log_size: 2 KiB
"""
        # As an editor of Windows saves it.
        (self.home / "config.yaml").write_bytes(("\ufeff" + config.replace("\n", "\r\n")).encode())

    def start(self) -> None:
        self.console = Console(self.command("run"), self.directory)
        self.console.sees(f"{self.name}: messages can cross", "messages can cross")
        must(f"{self.name}: it tells that its home is outside of the profile", OPEN in self.console.text(), self.console.text())

    def says(self, text: str) -> None:
        line = {"from": NODE, "name": "Base Camp", "short": "BASE", "text": text}
        self.radio.stdin.write(json.dumps(line).encode() + b"\n")
        self.radio.stdin.flush()

    def texts(self) -> list[str]:
        return [text for text in dict(self.packets).values() if text]

    def transmits(self, text: str) -> None:
        def is_there() -> bool:
            return any(it.endswith(text) for it in self.texts())

        until(f"{self.name} transmits: {text}", is_there, lambda: f"{self.texts()}\n{self.console.text()}")

    def interrupt(self) -> None:
        self.console.types("\x03")
        self.console.sees(f"{self.name}: Ctrl-C is heard", "asked to stop")
        self.console.ends(f"{self.name} stops", 0)

    def kill(self) -> None:
        self.console.process.kill()
        self.console.process.wait()


def make_room(homeserver: Homeserver, bots: list[str]) -> tuple[str, str]:
    """Returns an encrypted room, and its maker's token."""
    token = homeserver.register("maker")["access_token"]
    encrypted = {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}
    room = {"preset": "private_chat", "invite": bots, "initial_state": [encrypted]}
    return homeserver.ask("POST", "createRoom", room, token)["room_id"], token


def try_all(program: Path, directory: Path, parts: list) -> None:
    version = subprocess.run(["wine", program, "--version"], check=False, capture_output=True, timeout=LIMIT)
    must("relay --version", version.stdout.startswith(b"relay "), str(version))
    options = {"check": False, "capture_output": True, "timeout": LIMIT, "env": ENVIRONMENT}
    subprocess.run(["wine", program, "config", "generate", "--force"], **options)
    told = subprocess.run(["wine", program, "doctor"], **options).stdout.decode(errors="replace")
    must("relay doctor finds nothing wrong with a home in the profile", ".relay" in told and OPEN not in told, told)
    homeserver = Homeserver(directory / "homeserver")
    parts.append(homeserver.stop)
    relays = []
    for name in ("hills", "valley"):
        relays.append(Relay(name, program, directory, homeserver))
        parts.append(relays[-1].radio.kill)
    hills, valley = relays
    room, token = make_room(homeserver, [hills.bot, valley.bot])
    hills.configure(room, valley.bot)
    valley.configure(room, hills.bot)

    login = ["auth", "login", "--homeserver", homeserver.url, "--username"]
    (directory / "secret.txt").write_text(PASSWORD + "\r\n")
    valley.does(*login, valley.bot, "--password-file", "secret.txt", "--recovery-key-out", "key.txt")
    console = Console(hills.command(*login, hills.bot), directory)
    console.sees("hills: relay auth login asks for the password", "Password of")
    time.sleep(1)
    console.types(PASSWORD + "\r")
    console.ends("hills: it logs in", 0)
    must("the password is not shown, the recovery key is", PASSWORD not in console.text() and "ecovery key" in console.text())
    for relay in relays:
        relay.does("auth", "status")
        relay.does("config", "paths")
        relay.does("config", "check", "--online")
        relay.start()
        parts.append(lambda relay=relay: relay.console.process.kill())

    hills.says("one from the hills")
    valley.transmits("one from the hills")
    valley.says("one from the valley: grüß Gott 🎉")
    hills.transmits("one from the valley: grüß Gott 🎉")
    said = homeserver.ask("GET", f"rooms/{room}/messages?dir=b&limit=50", token=token)["chunk"]
    kinds = {event["type"] for event in said if event["type"] in ("m.room.message", "m.room.encrypted")}
    must("nothing in the room is plain", kinds == {"m.room.encrypted"}, str(kinds))

    status = json.loads(hills.does("status", "--json"))
    must("relay status tells of radio and room", status["radio"]["state"] == "ready" and status["rooms"][0]["encrypted"])
    hills.does("doctor", "--quick")
    must("relay doctor tells that the home is outside of the profile", OPEN in hills.does("doctor"))
    hills.does("doctor", "--bundle", "bundle.txt")
    valley.does("backup", "backup.tar.gz")
    second = hills.run("run")
    told = second.stderr.decode(errors="replace")
    must("a second relay in one home is refused, and told who is there", b"another relay is running" in second.stderr, told)
    must("its process is named", f"process {status['pid']}" in told, told)

    hills.interrupt()
    must("relay status says that none runs", hills.run("status").returncode == 1)
    valley.says("said while the hills were asleep")
    hills.start()
    hills.transmits("said while the hills were asleep")
    hills.says("awake again")
    valley.transmits("awake again")

    valley.kill()
    hills.says("said while the valley was dead")
    valley.start()
    valley.transmits("said while the valley was dead")
    for relay in relays:
        relay.interrupt()
        logs = [it.read_text() for it in (relay.home / "logs").iterdir()]
        must(f"{relay.name}: the log is in files, old ones too", len(logs) > 2 and any("relay ends" in it for it in logs))

    hills.does("auth", "export", "login.age", "--database", "--passphrase-file", "secret.txt")
    hills.moves("hills-moved")
    hills.does("auth", "import", "login.age", "--passphrase-file", "secret.txt")
    valley.moves("valley-restored")
    valley.does("restore", "backup.tar.gz", "--recovery-key-file", "key.txt", "--password-file", "secret.txt")
    for relay in relays:
        relay.start()
    hills.says("from another home")
    valley.transmits("from another home")
    valley.says("from a backup")
    hills.transmits("from a backup")
    for relay in relays:
        relay.interrupt()
        texts = relay.texts()
        twice = {text for text in texts if texts.count(text) > 1}
        must(f"{relay.name} transmitted nothing twice", not twice, str(twice))
    hills.does(*login, hills.bot, "--force", "--password-file", "secret.txt")
    hills.does("auth", "status")
    hills.does("auth", "logout", "--yes", "--password-file", "secret.txt")


def main() -> int:
    directory = Path(tempfile.mkdtemp(prefix="windows", dir=Path(os.environ["RELAY_CACHE"]) / "tmp"))
    parts: list = []
    try:
        try_all(Path(sys.argv[1]), directory, parts)
    finally:
        for stop in reversed(parts):
            stop()
        subprocess.run(["wineserver", "--kill"], check=False)
        shutil.rmtree(directory, ignore_errors=True)
    print("all is well")
    return 0


if __name__ == "__main__":
    sys.exit(main())
