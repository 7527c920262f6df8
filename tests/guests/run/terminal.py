# SPDX-License-Identifier: BSD-2-Clause
"""`./hv run` in a terminal."""
import os
import pty
import re
import select
import time

from hv_run import HV


class Terminal:
    """A run in a terminal of its own."""

    def __init__(self, *arguments, env=os.environ):
        self.seen = ""
        self.process, self.screen = pty.fork()
        if self.process == 0:
            os.execve(HV, [HV, "run", *map(str, arguments)], env)

    def wait_for(self, pattern, seconds=60):
        """Reads until the pattern comes, and forgets what was before its end."""
        end = time.monotonic() + seconds
        while not (found := re.search(pattern, self.seen)):
            ready, _, _ = select.select([self.screen], [], [], max(0, end - time.monotonic()))
            try:
                more = os.read(self.screen, 4096) if ready else b""
            except OSError:  # the other end is closed
                more = b""
            if not more:
                raise AssertionError(f"{pattern} did not come; the screen:\n{self.seen}")
            self.seen += more.decode(errors="replace")
        self.seen = self.seen[found.end() :]
        return found

    def type(self, text):
        os.write(self.screen, text.encode())

    def end(self):
        """The exit status."""
        while True:
            try:
                if not os.read(self.screen, 4096):
                    break
            except OSError:
                break
        return os.waitstatus_to_exitcode(os.waitpid(self.process, 0)[1])
