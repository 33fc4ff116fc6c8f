#!/usr/bin/env python3
"""Run a command on a terminal, as a person does.

on_terminal.py STEPS COMMAND [ARG]...; STEPS is JSON: a list of {"expect": TEXT}, {"send": TEXT},
{"size": [ROWS, COLUMNS]}, {"signal": NUMBER}, each with "wait": SECONDS before. Expecting looks at what has come since the last text
that was found. Writes {"output": …, "code": …} and ends with 0 if all that was expected came.
"""
import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

TIMEOUT_S = 30


class Terminal:
    def __init__(self, command):
        self.output = b""
        self.seen = 0
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvp(command[0], command)

    def size(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        # The kernel tells the foreground process group only if the size has changed.
        os.kill(self.pid, signal.SIGWINCH)

    def read(self, seconds):
        """False: the command has closed the terminal."""
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.output += data
        return bool(data)

    def expect(self, text):
        until = time.monotonic() + TIMEOUT_S
        while True:
            at = self.output.find(text.encode(), self.seen)
            if at >= 0:
                self.seen = at + len(text.encode())
                return True
            if time.monotonic() > until or not self.read(0.2):
                return text.encode() in self.output[self.seen:]

    def end(self):
        until = time.monotonic() + TIMEOUT_S
        while time.monotonic() < until and self.read(0.2):
            pass
        while time.monotonic() < until:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.02)
        os.kill(self.pid, signal.SIGKILL)
        return None


def main():
    terminal = Terminal(sys.argv[2:])
    missing = None
    for step in json.loads(sys.argv[1]):
        if "size" in step:
            terminal.size(*step["size"])
        if "signal" in step:
            os.kill(terminal.pid, step["signal"])
        time.sleep(step.get("wait", 0))
        if "send" in step:
            os.write(terminal.fd, step["send"].encode())
        if "expect" in step and not terminal.expect(step["expect"]):
            missing = step["expect"]
            break
    if missing is not None:
        os.kill(terminal.pid, signal.SIGKILL)
    code = terminal.end()
    print(json.dumps({"output": terminal.output.decode("utf-8", "replace"), "code": code,
                      "missing": missing}))
    sys.exit(1 if missing is not None else 0)


main()
