"""A real PostgreSQL server on loopback for the contract of the store."""

import glob
import os
import pathlib
import pwd
import subprocess

from relay import free_port

ROWS = ["PostgreSQL holds the contract of the store, tells of changes, and takes and gives whole stores"]
REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


class PostgreSQL:
    """A cluster of its own below `folder`, owned by the account that Debian's package makes."""

    def __init__(self, folder):
        programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        if not programs:
            raise AssertionError("PostgreSQL is not installed")
        self.programs, self.port = pathlib.Path(programs[-1]), free_port()
        owner = pwd.getpwnam("postgres")
        folder.mkdir()
        os.chown(folder, owner.pw_uid, owner.pw_gid)
        self.data = folder / "data"
        self.call("initdb", "-D", self.data, "-A", "trust", "-U", "relevo")
        options = f"-p {self.port} -k {folder} -c listen_addresses=127.0.0.1"
        self.call("pg_ctl", "-D", self.data, "-o", options, "-l", folder / "log", "-w", "start")
        self.call("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "relevo", "relevo")
        self.url = f"postgres://relevo@127.0.0.1:{self.port}/relevo"

    def call(self, program, *arguments):
        command = [str(self.programs / program), *map(str, arguments)]
        # The server goes on with these: a pipe would never end.
        subprocess.run(command, user="postgres", check=True, cwd="/", stdout=subprocess.DEVNULL, timeout=120)

    def stop(self):
        self.call("pg_ctl", "-D", self.data, "-m", "fast", "-w", "stop")


def run(table, folder):
    def contract():
        server = PostgreSQL(folder / "postgresql")
        try:
            command = ["cargo", "test", "--quiet", "--package", "relevo-store", "--features", "postgres-tests", "--lib", "--test", "postgres"]
            subprocess.run(command, cwd=REPOSITORY, env={**os.environ, "RELEVO_POSTGRES": server.url}, check=True, timeout=900)
        finally:
            server.stop()

    table.run(ROWS[0], contract)
