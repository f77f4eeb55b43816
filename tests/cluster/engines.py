"""Real engines: three NATS servers; PostgreSQL with a synchronous standby."""

import glob
import os
import pathlib
import pwd
import signal
import time

from world import folder, send, wait_until


class Nats:
    """Three servers, each on a machine of its own."""

    def __init__(self, world, program, files):
        self.program, self.files = program, files
        self.machines = [world.machine(f"e{n}", 10 + n) for n in (1, 2, 3)]
        self.processes = [None] * 3
        routes = ", ".join(f"nats://{machine.address}:6222" for machine in self.machines)
        for n, machine in enumerate(self.machines):
            self.file(n).write_text(
                f'server_name: {machine.name}\nlisten: {machine.address}:4222\nhttp: {machine.address}:8222\n'
                f'jetstream {{ store_dir: "{self.store(n)}", sync_interval: always }}\n'
                f"cluster {{ name: mail, listen: {machine.address}:6222, routes: [{routes}] }}\n"
                "accounts { $SYS { users: [{ user: sys, password: system }] }, "
                "MAIL { jetstream: enabled, users: [{ user: relevo, password: mail }] } }\n")

    def file(self, n):
        return folder(self.files / f"nats{n}") / "nats.conf"

    def store(self, n):
        return self.files / f"nats{n}" / "store"

    def start(self):
        for n in range(3):
            self.begin(n)
        time.sleep(5)

    def begin(self, n):
        self.processes[n] = self.machines[n].spawn(self.program, "-c", self.file(n), log=self.files / f"nats{n}" / "log")

    def kill(self, n):
        send(self.processes[n], signal.SIGKILL)
        self.processes[n].wait()

    def configuration(self, files):
        for name, password in (("mail", "mail"), ("system", "system")):
            path = files / f"{name}.password"
            path.write_text(password)
            path.chmod(0o600)
        servers = ", ".join(f'"nats://{machine.address}:4222"' for machine in self.machines)
        return (f'[cluster.nats]\nservers = [{servers}]\nuser = "relevo"\npassword_file = "{files}/mail.password"\n'
                f'system_user = "sys"\nsystem_password_file = "{files}/system.password"\n')


class Postgres:
    """A primary on its machine, which every node keeps control-plane data in, and a synchronous standby beside it."""

    def __init__(self, world, files):
        self.programs = pathlib.Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1])
        self.machine, self.files = world.machine("db", 20), folder(files / "postgres")
        owner = pwd.getpwnam("postgres")
        os.chown(self.files, owner.pw_uid, owner.pw_gid)
        self.url = f"postgres://relevo@{self.machine.address}/relevo"

    def call(self, program, *arguments):
        self.machine.call(self.programs / program, *arguments, user="postgres")

    def serve(self, name, port, *options):
        data = self.files / name
        self.machine.spawn(self.programs / "postgres", "-D", data, "-p", port, "-k", self.files, "-c", "listen_addresses=*", *options,
                           log=self.files / f"{name}.log", user="postgres")
        wait_until(lambda: self.machine.call(self.programs / "pg_isready", "-h", "127.0.0.1", "-p", port, check=False).returncode == 0, 60,
                   f"PostgreSQL {name} listens")

    def start(self):
        # The files lie below a folder that only root may enter otherwise.
        self.files.parent.chmod(0o755)
        self.call("initdb", "-D", self.files / "primary", "-A", "trust", "-U", "relevo")
        with (self.files / "primary" / "pg_hba.conf").open("a") as access:
            access.write("host all all 10.77.0.0/24 trust\nhost replication all 127.0.0.1/32 trust\n")
        self.serve("primary", 5432, "-c", "max_connections=200")
        self.call("createdb", "-h", "127.0.0.1", "-U", "relevo", "relevo")
        source = "host=127.0.0.1 port=5432 user=relevo application_name=standby"
        self.call("pg_basebackup", "-D", self.files / "standby", "-R", "-X", "stream", "-c", "fast", "-C", "-S", "standby", "-d", source)
        self.serve("standby", 5433, "-c", "max_connections=200")
        self.call("psql", "-h", "127.0.0.1", "-U", "relevo", "-c", "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (standby)'", "relevo")
        self.call("psql", "-h", "127.0.0.1", "-U", "relevo", "-c", "SELECT pg_reload_conf()", "relevo")
