#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""bochs_console.py COPY COMMAND...: run Bochs with stdin and stdout as its first serial port.

Adds the option for that port to COMMAND and writes the output to the file COPY too. In a terminal Ctrl-A X ends Bochs,
with status 130, and Ctrl-A Ctrl-A types one Ctrl-A; otherwise the status is COMMAND's.
"""
import os
import select
import signal
import socket
import subprocess
import sys
import termios
import tty

CTRL_A = 1


class Keys:
    """What is typed, without the escapes."""

    def __init__(self):
        self.escaped = False

    def take(self, typed):
        """The bytes for the guest, and whether the user leaves."""
        kept = bytearray()
        for byte in typed:
            if self.escaped and byte in b"xX":
                return kept, True
            if byte != CTRL_A or self.escaped:
                kept += bytes([byte]) if not self.escaped or byte == CTRL_A else b""
                self.escaped = False
            else:
                self.escaped = True
        return kept, False


def connected(listener, bochs):
    """The serial port, None if Bochs ended before."""
    while bochs.poll() is None:
        if select.select([listener], [], [], 0.1)[0]:
            return listener.accept()[0]
    return None


def relay(port, copy, terminal):
    """Hands bytes on until Bochs closes the port; whether the user left instead."""
    keys, pending, inputs = Keys(), bytearray(), [0]
    while True:
        awaited = inputs if terminal or len(pending) < 4096 else []
        readable, writable, _ = select.select([port, *awaited], [port] if pending else [], [])
        if port in readable:
            try:
                said = port.recv(4096)
            except ConnectionError:
                said = b""
            if not said:
                return False
            copy.write(said)
            sys.stdout.buffer.write(said)
            sys.stdout.buffer.flush()
        if 0 in readable:
            typed = os.read(0, 4096)
            if not typed:
                inputs = []
            left = False
            if terminal:
                typed, left = keys.take(typed)
            if left:
                return True
            pending += typed
        if port in writable:
            try:
                del pending[: port.send(pending)]
            except ConnectionError:
                pending.clear()


def main():
    name, *command = sys.argv[1:]
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    terminal = os.isatty(0)
    settings = termios.tcgetattr(0) if terminal else None
    with open(name, "wb") as copy, socket.create_server(("127.0.0.1", 0), backlog=1) as listener:
        command.append(f"com1: enabled=1, mode=socket-client, dev=127.0.0.1:{listener.getsockname()[1]}")
        bochs = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, stderr=2)
        try:
            if terminal:
                tty.setraw(0, termios.TCSADRAIN)
            port = connected(listener, bochs)
            if port and relay(port, copy, terminal):
                return 130
            return bochs.wait()
        finally:
            if bochs.poll() is None:
                bochs.terminate()
                bochs.wait()
            if terminal:
                termios.tcsetattr(0, termios.TCSADRAIN, settings)


sys.exit(main())
