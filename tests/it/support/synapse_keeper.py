"""Runs a homeserver until standard input ends, which happens however the tests end; then cleans up behind it.

A line on standard input is a command: `hang`, `resume`, `stop`, `start`, `back_up`, and, while it is stopped, `restore`. It is
repeated on standard output when it is done.
"""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading

directory, *command = sys.argv[1:]
database, backup = f"{directory}/homeserver.db", f"{directory}/backup.db"
asked_to_stop = False


def start() -> subprocess.Popen:
    with open(f"{directory}/output.log", "wb") as output:
        return subprocess.Popen(
            command,
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stop() -> None:
    server.send_signal(signal.SIGCONT)
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def copy(source: str, target: str) -> None:
    for name in [target, f"{target}-wal", f"{target}-shm"]:
        if os.path.exists(name):
            os.remove(name)
    with sqlite3.connect(source) as origin, sqlite3.connect(target) as copied:
        origin.backup(copied)
    origin.close()
    copied.close()


def watch(watched: subprocess.Popen) -> None:
    watched.wait()
    if asked_to_stop or watched is not server:
        return
    with open(f"{directory}/output.log", "rb") as output:
        sys.stderr.buffer.write(output.read()[-4000:])
        sys.stderr.flush()
    shutil.rmtree(directory, ignore_errors=True)
    os._exit(1)


def start_and_watch() -> subprocess.Popen:
    started = start()
    threading.Thread(target=watch, args=[started], daemon=True).start()
    return started


server = start_and_watch()
try:
    for line in sys.stdin:
        match line.strip():
            case "hang":
                server.send_signal(signal.SIGSTOP)
            case "resume":
                server.send_signal(signal.SIGCONT)
            case "stop":
                asked_to_stop = True
                stop()
            case "start":
                server = start_and_watch()
                asked_to_stop = False
            case "back_up":
                copy(database, backup)
            case "restore":
                copy(backup, database)
        print(line.strip(), flush=True)
except KeyboardInterrupt:
    pass
asked_to_stop = True
stop()
shutil.rmtree(directory, ignore_errors=True)
