"""Runs a homeserver until standard input ends, which happens however the tests end; then cleans up behind it."""

import os
import shutil
import subprocess
import sys
import threading

# What ends the tests (Ctrl-C, a time limit) often signals their whole group: the one who cleans up is not in it.
os.setsid()
directory, *command = sys.argv[1:]
with open(f"{directory}/output.log", "wb") as output:
    server = subprocess.Popen(
        command,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def stop() -> None:
    server.terminate()
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()


def stop_at_end_of_input() -> None:
    while sys.stdin.buffer.read(1):
        pass
    stop()


threading.Thread(target=stop_at_end_of_input, daemon=True).start()
server.wait()
with open(f"{directory}/output.log", "rb") as output:
    if server.returncode > 0:
        sys.stderr.buffer.write(output.read()[-4000:])
shutil.rmtree(directory, ignore_errors=True)
