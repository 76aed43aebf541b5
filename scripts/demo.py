"""A conversation that crosses between a mesh and Matrix, on this machine alone; `scripts/demo` sets up what it needs.

A real homeserver, a simulated radio (`relay simulate`), a person in Matrix (Alice), and the relay that RELAY_BIN names. On a
terminal there are two columns, and keys break the relay and the radio's link. Without a terminal it breaks both by itself, and
ends with exit code 1 if a message was lost or came twice. RELAY_DEMO_HOMESERVER names a homeserver to use instead of one of its
own, on which anybody can register; RELAY_DEMO_PACE is the time from one message to the next, in seconds.
"""

import ctypes
import json
import os
import queue
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import threading
import time
import tty
import unicodedata
import urllib.parse
from dataclasses import dataclass, field
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent / "tests/it/support"))
from homeserver import PASSWORD, Homeserver  # noqa: E402

# Seconds from one message to the next; a mesh takes one text in two seconds.
PACE = float(os.environ.get("RELAY_DEMO_PACE", "2.5"))
# Nobody says more while so many messages wait: a radio keeps 32 for a relay that is away.
MOST_WAITING = 12
# Seconds in which everything has to arrive once all is up again.
LIMIT = 90
# What the relay shows below a message from Matrix: what became of it.
SIGNS = "⏳📡📤✅❌🚫⌛"

# Who says it, what, and whether it answers (or reacts to) the message before.
BASE, SUMMIT, ALICE = "Base Camp", "Summit Hut", "Alice"
NODES = {BASE: ("!0a0b0c01", "BASE"), SUMMIT: ("!0a0b0c02", "SUMM")}
CONVERSATION = [
    (BASE, "Can anybody hear us?", None),
    (ALICE, "Loud and clear!", "reply"),
    (SUMMIT, "We hear you both. The wind gets up.", None),
    (ALICE, "How many are you up there?", "reply"),
    (SUMMIT, "Five, and one dog", "reply"),
    (ALICE, "🎉", "reaction"),
    (BASE, "Tea is ready when you come down", None),
    (ALICE, "Keep some for me", "reply"),
    (BASE, "👍", "reaction"),
    (ALICE, "The bus leaves at six", None),
]


@dataclass
class Message:
    number: int
    who: str
    text: str
    kind: str | None
    target: "Message | None"
    at: float
    packet: int | None = None
    event: str | None = None
    shown: str = ""
    arrivals: set = field(default_factory=set)
    sign: str = ""

    def from_mesh(self) -> bool:
        return self.who != ALICE

    def said(self) -> str:
        to = f" (to #{self.target.number})" if self.target else ""
        return f"{self.who}{to}: {self.text}"


LIBC = ctypes.CDLL(None)


def end_with_the_demo() -> None:
    """Has a program end when this one ends, in whatever way (on Linux)."""
    if hasattr(LIBC, "prctl"):
        LIBC.prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def begin(command: list, **streams) -> subprocess.Popen:
    """Starts a program, in a session of its own: Ctrl-C is for the demo alone."""
    return subprocess.Popen(command, start_new_session=True, preexec_fn=end_with_the_demo, **streams)


class Alice:
    """A person in Matrix, and the room that she has made."""

    def __init__(self, homeserver: Homeserver, bot: str, happenings: queue.Queue):
        self.homeserver, self.happenings = homeserver, happenings
        account = homeserver.register("alice")
        self.id, self.token = account["user_id"], account["access_token"]
        self.ask("PUT", f"profile/{self.id}/displayname", {"displayname": ALICE})
        self.room = self.ask("POST", "createRoom", {"name": "Hilltop", "invite": [bot]})["room_id"]
        threading.Thread(target=self.read, daemon=True).start()

    def ask(self, method: str, path: str, body=None):
        return self.homeserver.ask(method, urllib.parse.quote(path, safe="/?=&"), body, self.token)

    def read(self) -> None:
        since = ""
        while True:
            try:
                answer = self.ask("GET", f"sync?timeout=20000{since}")
            except (OSError, ValueError):
                time.sleep(0.5)
                continue
            since = f"&since={answer['next_batch']}"
            room = answer.get("rooms", {}).get("join", {}).get(self.room, {})
            for event in room.get("timeline", {}).get("events", []):
                self.happenings.put(("event", event))

    def send(self, message: Message) -> None:
        content = {"msgtype": "m.text", "body": message.text}
        kind = "m.room.message"
        if message.kind == "reaction":
            kind, content = "m.reaction", {}
            content["m.relates_to"] = {"rel_type": "m.annotation", "event_id": message.target.event, "key": message.text}
        elif message.target:
            content["m.relates_to"] = {"m.in_reply_to": {"event_id": message.target.event}}
        sent = self.ask("PUT", f"rooms/{self.room}/send/{kind}/demo{message.number}", content)
        message.event = sent["event_id"]


class Radio:
    """`relay simulate`, driven by lines of JSON (docs/reference/simulator.md)."""

    def __init__(self, program: str, happenings: queue.Queue):
        command = [program, "simulate", "--listen", "127.0.0.1:0", "--nodes", "3", "--seed", "7"]
        self.process = begin(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.port = int(json.loads(self.process.stdout.readline())["listening"].rsplit(":", 1)[1])
        self.happenings = happenings
        threading.Thread(target=self.read, daemon=True).start()

    def read(self) -> None:
        for line in self.process.stdout:
            self.happenings.put(("radio", json.loads(line)))

    def write(self, line: dict) -> None:
        self.process.stdin.write(json.dumps(line).encode() + b"\n")
        self.process.stdin.flush()

    def say(self, message: Message) -> None:
        node, short = NODES[message.who]
        message.packet = random.randrange(1, 1 << 31)
        line = {"from": node, "name": message.who, "short": short, "id": message.packet, "text": message.text}
        if message.target:
            line |= {"reply_id": message.target.packet, "emoji": int(message.kind == "reaction")}
        self.write(line)


class Relay:
    """The relay itself, with a home of its own."""

    def __init__(self, program: str, home: Path, homeserver: Homeserver, bot: str):
        self.command = [program, "--home", str(home)]
        self.home, self.process = home, None
        ours = ("RELAY_", "MMRELAY_")
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        login = ["auth", "login", "--homeserver", homeserver.url, "--username", bot, "--password-stdin"]
        done = subprocess.run(
            [*self.command, *login], input=PASSWORD.encode(), check=False, capture_output=True, env=self.environment
        )
        if done.returncode != 0:
            sys.exit(f"error: the relay cannot log in\n{done.stderr.decode()}")

    def configure(self, room: str, port: int) -> str:
        config = f"""\
matrix_rooms:
  - id: "{room}"
    meshtastic_channel: 0
meshtastic:
  connection_type: tcp
  host: 127.0.0.1
  port: {port}
  meshnet_name: Hilltop
matrix:
  sender_limit: {{per_minute: 60, per_hour: 3600}}   # Alice talks a lot
"""
        (self.home / "config.yaml").write_text(config)
        return config

    def start(self) -> None:
        with open(self.home / "demo.log", "ab") as log:
            command = [*self.command, "run"]
            self.process = begin(command, stdin=subprocess.DEVNULL, stderr=log, env=self.environment)

    def log(self) -> str:
        return (self.home / "demo.log").read_text()[-4000:]

    def has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.process = None


class Stage:
    """What was said, what has arrived, and what is broken. Only the main thread touches it."""

    def __init__(self, relay: Relay, radio: Radio, alice: Alice, bot: str):
        self.relay, self.radio, self.alice, self.bot = relay, radio, alice, bot
        self.messages: list[Message] = []
        self.broken_at: dict[str, float] = {}
        self.linked = self.joined = self.silent = False
        # After something was mended: people listen until all has arrived.
        self.is_catching_up = False
        self.signs: dict[str, Message] = {}
        self.next_at = 0.0

    # What happens.

    def take(self, kind: str, what: dict) -> list[tuple[str, str]]:
        """Takes a happening, and returns what to tell of it: the side, and a sentence."""
        if kind == "radio":
            return self.take_radio(what)
        return self.take_event(what)

    def take_radio(self, line: dict) -> list[tuple[str, str]]:
        if "client" in line:
            self.linked = line["client"] == "configured"
            return [("", "the relay has reached the radio")] if self.linked else []
        packet = line.get("transmitted")
        if not packet or line["fate"] not in ("accepted", "sent", "heard", "unheard"):
            return []
        shown = f"{packet['text']}"
        for message in self.messages:
            if message.from_mesh():
                continue
            if message.kind == "reaction":
                its = packet["emoji"] == 1 and packet["reply_id"] == message.target.packet and shown == message.text
            else:
                its = shown.endswith(message.text)
            if its:
                message.packet = packet["id"]
                return self.arrive(message, packet["id"], shown)
        return []

    def take_event(self, event: dict) -> list[tuple[str, str]]:
        content, sender = event.get("content", {}), event["sender"]
        if event["type"] == "m.room.member" and event.get("state_key") == self.bot:
            self.joined |= content.get("membership") == "join"
        elif event["type"] == "m.room.redaction" and (signed := self.signs.pop(event.get("redacts"), None)):
            signed.sign = ""
        elif sender == self.bot and event["type"] == "m.reaction":
            relation = content.get("m.relates_to", {})
            return self.take_reaction(event["event_id"], relation.get("event_id"), relation.get("key", ""))
        elif sender == self.bot and event["type"] == "m.room.message":
            body = content.get("body", "")
            for message in self.messages:
                if message.from_mesh() and message.kind != "reaction" and body.endswith(message.text):
                    message.event = event["event_id"]
                    return self.arrive(message, message.event, body)
            return [("Matrix", f"the relay says: {body}")]
        return []

    def take_reaction(self, reaction: str, target: str, key: str) -> list[tuple[str, str]]:
        for message in self.messages:
            if key in SIGNS and message.event == target:
                message.sign = key
                self.signs[reaction] = message
                return [("Matrix", f"#{message.number} has the sign {key}")]
            if message.from_mesh() and message.kind == "reaction" and message.target.event == target:
                return self.arrive(message, reaction, key)
        return []

    def arrive(self, message: Message, identifier, shown: str) -> list[tuple[str, str]]:
        if identifier in message.arrivals:
            return []
        message.arrivals.add(identifier)
        message.shown = shown
        to = f" (on #{message.target.number})" if message.kind == "reaction" else ""
        twice = " FOR THE SECOND TIME" if len(message.arrivals) > 1 else ""
        return [("Matrix" if message.from_mesh() else "mesh", f"arrives{twice}: {shown}{to}")]

    # What is done.

    def waiting(self) -> list[Message]:
        return [message for message in self.messages if not message.arrivals]

    def tally(self) -> str:
        said, waiting = len(self.messages), len(self.waiting())
        twice = sum(len(message.arrivals) > 1 for message in self.messages)
        return f"said {said} · arrived {said - waiting} · waiting {waiting} · twice {twice}"

    def well(self) -> bool:
        return all(len(message.arrivals) == 1 for message in self.messages)

    def talk(self) -> list[tuple[str, str]]:
        """Says the next line of the conversation, when it is time."""
        now = time.monotonic()
        self.is_catching_up &= bool(self.waiting()) and not self.broken_at
        if self.silent or self.is_catching_up or now < self.next_at or len(self.waiting()) >= MOST_WAITING:
            return []
        self.next_at = now + PACE
        number = len(self.messages) + 1
        who, text, kind = CONVERSATION[(number - 1) % len(CONVERSATION)]
        # What has not arrived yet cannot be answered.
        last = self.messages[-1] if kind and self.messages[-1].arrivals else None
        if kind == "reaction" and not last:
            kind, text = None, f"{text} to that"
        if kind != "reaction":
            text = f"#{number} {text}"
        message = Message(number, who, text, kind, last, now)
        self.messages.append(message)
        if message.from_mesh():
            self.radio.say(message)
        else:
            self.alice.send(message)
        return [("mesh" if message.from_mesh() else "Matrix", message.said())]

    def press(self, key: str) -> list[tuple[str, str]]:
        if key == "k":
            if "relay" in self.broken_at:
                self.relay.start()
                return self.mend("relay", "the relay is started again")
            self.relay.kill()
            return self.break_("relay", "the relay is killed (kill -9)")
        if key == "r":
            if "radio" in self.broken_at:
                self.radio.write({"fault": "away", "seconds": 0})
                return self.mend("radio", "the radio is plugged in again")
            self.radio.write({"fault": "away", "seconds": 7 * 24 * 3600})
            self.linked = False
            return self.break_("radio", "the radio is pulled out; its battery keeps it running")
        return []

    def break_(self, what: str, sentence: str) -> list[tuple[str, str]]:
        self.broken_at[what] = time.monotonic()
        return [("", sentence)]

    def mend(self, what: str, sentence: str) -> list[tuple[str, str]]:
        del self.broken_at[what]
        self.is_catching_up = True
        return [("", sentence)]

    def place(self, message: Message) -> str:
        """Returns where a message is that has not arrived."""
        if message.from_mesh():
            return "in the radio's memory" if self.broken_at else "on its way"
        if message.at > self.broken_at.get("relay", message.at):
            return "on the homeserver"
        return "in the relay's database" if self.broken_at else "on its way"


def cells(text: str) -> int:
    """Returns how many columns of a terminal a text takes."""
    wide = sum(unicodedata.east_asian_width(it) in "WF" for it in text)
    return len(text) + wide - sum(unicodedata.combining(it) > 0 or it in "\ufe0f\u200d" for it in text)


def fit(text: str, width: int) -> str:
    """Cuts or fills a text to a width."""
    if cells(text) > width:
        while cells(text) > width - 1:
            text = text[:-1]
        text += "…"
    return text + " " * (width - cells(text))


class Screen:
    """Two columns on a terminal, drawn anew after each happening."""

    def __init__(self):
        self.colours = not os.environ.get("NO_COLOR")
        self.settings = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin)
        sys.stdout.write("\x1b[?1049h\x1b[?25l")

    def paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colours else text

    def state(self, name: str, stage: Stage, well: str, broken: str) -> str:
        is_broken = name in stage.broken_at
        return self.paint("1;31" if is_broken else "32", f"● {name} {broken if is_broken else well}")

    def row(self, stage: Stage, message: Message, width: int) -> str:
        arrow = "→" if message.from_mesh() else "←"
        said = self.paint("1" if message.kind != "reaction" else "0", fit(message.said(), width))
        if message.arrivals:
            twice = len(message.arrivals) > 1
            there = self.paint("1;31" if twice else "32", fit(message.shown, width))
            middle = self.paint("32", arrow)
        else:
            there = self.paint("33", fit(f"… waits {stage.place(message)}", width))
            middle = self.paint("33", "·")
        sign = fit(message.sign, 2)
        columns = (said, there) if message.from_mesh() else (there, said)
        return f"{columns[0]} {middle} {columns[1]} {sign}"

    def draw(self, stage: Stage, _told: list[tuple[str, str]]) -> None:
        columns, lines = shutil.get_terminal_size()
        width = max(20, (columns - 7) // 2)
        is_sought = not stage.linked and "relay" not in stage.broken_at
        link = "plugged in, being reached" if is_sought else "plugged in"
        process = stage.relay.process
        relay = self.state("relay", stage, f"runs (process {process and process.pid})", "KILLED")
        screen = [
            f"{self.state('radio', stage, link, 'PULLED OUT')}   {relay}   {self.paint('32', '● homeserver runs')}",
            "",
            self.paint("1;36", fit("MESH", width)) + "   " + self.paint("1;35", fit("MATRIX", width)),
            "─" * (2 * width + 6),
        ]
        room = max(1, lines - len(screen) - 4)
        rows = [self.row(stage, message, width) for message in stage.messages[-room:]]
        screen += rows + [""] * (room - len(rows))
        kill = "start the relay again" if "relay" in stage.broken_at else "kill the relay (kill -9)"
        pull = "plug the radio in" if "radio" in stage.broken_at else "pull the radio out"
        end = "the end: waiting for what is on its way" if stage.silent else "end"
        screen += ["─" * (2 * width + 6), self.paint("1", stage.tally()), f"k {kill}   r {pull}   q {end}"]
        sys.stdout.write("\x1b[H" + "".join(f"{line}\x1b[K\r\n" for line in screen) + "\x1b[J")
        sys.stdout.flush()

    def keys(self) -> str:
        ready, _, _ = select.select([sys.stdin], [], [], 0)
        return os.read(sys.stdin.fileno(), 16).decode(errors="ignore") if ready else ""

    def leave(self) -> None:
        sys.stdout.write("\x1b[?25h\x1b[?1049l")
        sys.stdout.flush()
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, self.settings)


class Lines:
    """A line for each happening, where there is no terminal; the keys are pressed by a plan."""

    def __init__(self, stage: Stage):
        self.plan = self.presses(stage)
        self.until = next(self.plan)

    @staticmethod
    def presses(stage: Stage):
        def said(more: int):
            wanted = len(stage.messages) + more
            return lambda: len(stage.messages) >= wanted

        yield "", said(4)
        for key in "kr":
            yield key, said(5)
            yield key, lambda: not stage.waiting()
        yield "q", lambda: False

    def draw(self, _stage: Stage, told: list[tuple[str, str]]) -> None:
        for side, sentence in told:
            print(f"{time.strftime('%H:%M:%S')}  {side:6}  {sentence}", flush=True)

    def keys(self) -> str:
        if not self.until[1]():
            return ""
        self.until = next(self.plan)
        return self.until[0]

    def leave(self) -> None:
        pass


def perform(stage: Stage, screen, happenings: queue.Queue) -> None:
    """Runs until everything has arrived after `q`, or at once with what is broken."""
    ends_at = None
    while True:
        told = []
        try:
            told += stage.take(*happenings.get(timeout=0.1))
            while not happenings.empty():
                told += stage.take(*happenings.get())
        except queue.Empty:
            pass
        for key in screen.keys():
            if key == "q" and stage.silent:
                return
            if key == "q":
                stage.silent, ends_at = True, time.monotonic() + LIMIT
            told += stage.press(key)
        if stage.relay.has_ended():
            sys.exit(f"error: the relay has ended by itself\n{stage.relay.log()}")
        told += stage.talk()
        screen.draw(stage, told)
        if stage.silent and (stage.broken_at or not stage.waiting() or time.monotonic() > ends_at):
            return


def say(text: str) -> None:
    print(f"==> {text}", flush=True)


def show(directory: Path, parts: list) -> int:
    program = os.environ["RELAY_BIN"]
    happenings = queue.Queue()
    say("starting a homeserver on loopback (Synapse; some seconds)")
    homeserver = Homeserver(directory / "homeserver", os.environ.get("RELAY_DEMO_HOMESERVER", ""))
    parts.append(homeserver.stop)
    say("making accounts for Alice and the relay, logging the relay in, starting a simulated radio")
    bot = homeserver.register("relay")["user_id"]
    alice = Alice(homeserver, bot, happenings)
    radio = Radio(program, happenings)
    parts.append(radio.process.terminate)
    relay = Relay(program, directory / "home", homeserver, bot)
    config = relay.configure(alice.room, radio.port)
    print(f"    the homeserver is {homeserver.url}; Alice is {alice.id}, her password is `{PASSWORD}`")
    print("    config.yaml:")
    print("".join(f"        {line}\n" for line in config.splitlines()), end="")
    say("starting the relay, and waiting until it is in the room and has reached the radio")
    relay.start()
    parts.append(lambda: relay.process and (relay.process.terminate(), relay.process.wait()))
    stage = Stage(relay, radio, alice, bot)
    until = time.monotonic() + LIMIT
    while not (stage.linked and stage.joined):
        try:
            stage.take(*happenings.get(timeout=1))
        except queue.Empty:
            if relay.has_ended() or time.monotonic() > until:
                sys.exit(f"error: the relay does not begin\n{relay.log()}")
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    screen = Screen() if is_terminal else Lines(stage)
    try:
        perform(stage, screen, happenings)
    finally:
        screen.leave()
    say(stage.tally())
    if stage.well():
        say("nothing was lost, and nothing came twice")
        return 0
    for message in stage.waiting():
        print(f"    #{message.number} waits {stage.place(message)}: {message.said()}")
    return 0 if stage.broken_at and all(len(message.arrivals) <= 1 for message in stage.messages) else 1


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    directory = Path(tempfile.mkdtemp(prefix="demo"))
    (directory / "home").mkdir(mode=0o700)
    parts = []
    try:
        return show(directory, parts)
    except KeyboardInterrupt:
        return 130
    finally:
        for stop in reversed(parts):
            stop()
        shutil.rmtree(directory, ignore_errors=True)


sys.exit(main())
