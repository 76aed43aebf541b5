"""A real homeserver on loopback for programs of Python: the demo, and the test of the container image. Those of Rust have
`synapse.rs`."""

import json
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

PARTS = Path(__file__).parent
PASSWORD = "only for the demo"
# Seconds in which it has to start.
LIMIT = 90


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Homeserver:
    """Synapse, as in the tests, or the one that `url` names; it ends when this process ends, in whatever way."""

    def __init__(self, directory: Path, url: str = ""):
        self.url, self.keeper = url, None
        if not url:
            self.start(directory)

    def start(self, directory: Path) -> None:
        directory.mkdir(mode=0o700)
        port = free_port()
        config = (PARTS / "synapse.yaml").read_text().replace("DIRECTORY", str(directory)).replace("PORT", str(port))
        log = {
            "version": 1,
            "handlers": {"file": {"class": "logging.FileHandler", "filename": f"{directory}/homeserver.log"}},
            "root": {"level": "WARNING", "handlers": ["file"]},
        }
        # A key is 32 random bytes in base64; this server talks to no other, so any will do.
        key = "ed25519 a_test AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8\n"
        for name, text in [("homeserver.yaml", config), ("log.yaml", json.dumps(log)), ("signing.key", key)]:
            (directory / name).write_text(text)
        shutil.copy(PARTS / "past.yaml", directory)
        program = [sys.executable, PARTS / "synapse_program.py", "--config-path", "homeserver.yaml"]
        command = [sys.executable, PARTS / "synapse_keeper.py", directory, *program]
        # It ends when its input does, and cleans up.
        self.keeper = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True)
        self.url = f"http://127.0.0.1:{port}"
        until = time.monotonic() + LIMIT
        while True:
            try:
                return self.ask("GET", "versions", version="")
            except OSError:
                if self.keeper.poll() is not None or time.monotonic() > until:
                    sys.exit("error: the homeserver did not start")
                time.sleep(0.1)

    def ask(self, method: str, path: str, body=None, token: str = "", version: str = "v3/"):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/_matrix/client/{version}{path}", data, method=method)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def register(self, name: str) -> dict:
        for username in (name, f"{name}-{random.randrange(1 << 32):x}"):
            account = {"username": username, "password": PASSWORD, "auth": {"type": "m.login.dummy"}}
            try:
                return self.ask("POST", "register", account)
            except urllib.error.HTTPError as error:
                if error.code != 400:
                    raise
        sys.exit("error: no account can be made on the homeserver")

    def stop(self) -> None:
        if self.keeper:
            self.keeper.stdin.close()
            self.keeper.wait()
