"""A real PostgreSQL on a free loopback port, that can be stopped and started."""

import os
import pwd
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

DEBIAN = Path("/usr/lib/postgresql")


def program(name: str) -> str | None:
    """Debian keeps PostgreSQL's programs out of PATH."""
    found = shutil.which(name)
    candidates = sorted(DEBIAN.glob(f"*/bin/{name}"), key=lambda path: int(path.parts[-3]) if path.parts[-3].isdigit() else 0)
    return str(candidates[-1]) if candidates else found


class Postgres:
    """A server with an empty database; skips the test where there is no PostgreSQL."""

    def __init__(self):
        self.initdb, self.pg_ctl = program("initdb"), program("pg_ctl")
        if not self.initdb or not self.pg_ctl:
            pytest.skip("no PostgreSQL here: install Debian's package postgresql")
        self.user = None
        if os.geteuid() == 0:  # PostgreSQL refuses to run as root
            self.user = "postgres"
            try:
                pwd.getpwnam(self.user)
            except KeyError:
                pytest.skip("PostgreSQL does not run as root, and there is no user postgres")
        made = subprocess.run(["mktemp", "-d", "/tmp/hands-postgres-XXXXXX"], capture_output=True, text=True)
        self.folder = Path(made.stdout.strip())
        if self.user:
            shutil.chown(self.folder, self.user)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.url = f"postgresql://hands@127.0.0.1:{self.port}/postgres"
        self.data = str(self.folder / "data")
        self._run(self.initdb, "--pgdata", self.data, "--auth", "trust", "--username", "hands", "--no-sync")

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k {self.folder} -c fsync=off"
        log = str(self.folder / "log")
        self._run(self.pg_ctl, "--pgdata", self.data, "--wait", "--log", log, "--options", options, "start")

    def stop(self) -> None:
        """At once, as when it is killed: connections break."""
        self._run(self.pg_ctl, "--pgdata", self.data, "--mode", "immediate", "stop")

    def _run(self, *words: str) -> None:
        subprocess.run(words, user=self.user, cwd=self.folder, check=True, stdout=subprocess.DEVNULL, timeout=120)
