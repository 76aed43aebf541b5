"""Runs a homeserver until standard input ends, which happens however the tests end; then cleans up behind it.

A line on standard input is something to do: `hang`, `resume`, or `restart`.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading

# What ends the tests (Ctrl-C, a time limit) often signals their whole group: the one who cleans up is not in it.
os.setsid()
directory, *command = sys.argv[1:]


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


def obey() -> None:
    global server
    for line in sys.stdin:
        with changing:
            match line.strip():
                case "hang":
                    server.send_signal(signal.SIGSTOP)
                case "resume":
                    server.send_signal(signal.SIGCONT)
                case "restart":
                    stop()
                    server = start()
    stop()


server = start()
changing = threading.Lock()
threading.Thread(target=obey, daemon=True).start()
while True:
    running = server
    running.wait()
    with changing:
        if server is running:
            break
with open(f"{directory}/output.log", "rb") as output:
    if server.returncode > 0:
        sys.stderr.buffer.write(output.read()[-4000:])
shutil.rmtree(directory, ignore_errors=True)
