"""Real engines: three NATS servers; PostgreSQL with a synchronous standby. Each server has a disk of its own."""

import glob
import json
import os
import pathlib
import pwd
import signal
import time

from disks import Disk
from world import folder, kill, wait_until

# One request to a NATS server, in its own protocol: `ask.py HOST USER PASSWORD SUBJECT JSON`.
ASK = pathlib.Path(__file__).resolve().parent / "ask.py"


class Nats:
    """Three servers, each on a machine of its own. `syncs`: they acknowledge what is on their disks."""

    def __init__(self, world, program, files, syncs=True):
        self.program, self.files = program, files
        self.machines = [world.machine(f"e{n}", 10 + n) for n in (1, 2, 3)]
        self.disks = [Disk(files / f"nats{n}") for n in range(3)]
        self.processes = [None] * 3
        routes = ", ".join(f"nats://{machine.address}:6222" for machine in self.machines)
        sync = ", sync_interval: always" if syncs else ""
        for n, machine in enumerate(self.machines):
            self.file(n).write_text(
                f'server_name: {machine.name}\nlisten: {machine.address}:4222\nhttp: {machine.address}:8222\n'
                f'jetstream {{ store_dir: "{self.store(n)}", max_file_store: 1GiB{sync} }}\n'
                f"cluster {{ name: mail, listen: {machine.address}:6222, routes: [{routes}] }}\n"
                "accounts { $SYS { users: [{ user: sys, password: system }] }, "
                "MAIL { jetstream: enabled, users: [{ user: relevo, password: mail }] } }\n")

    def file(self, n):
        return self.files / f"nats{n}.conf"

    def store(self, n):
        return self.files / f"nats{n}" / "store"

    def start(self):
        for n in range(3):
            self.begin(n)
        time.sleep(5)

    def begin(self, n):
        self.processes[n] = self.machines[n].spawn(self.program, "-c", self.file(n), log=self.files / f"nats{n}.log")

    def kill(self, n):
        kill(self.processes[n])

    def ask(self, machine, subject, body=None, user="relevo", password="mail"):
        """What a server answers to a request of JetStream."""
        address = next(server.address for server in self.machines)
        done = machine.call("python3", ASK, address, user, password, subject, json.dumps(body) if body else "", check=False)
        return json.loads(done.stdout) if done.stdout.startswith("{") else {}

    def leader(self, machine, shard):
        """The number of the server that leads the log of a shard; None: nobody says."""
        name = self.ask(machine, f"$JS.API.STREAM.INFO.{self.stream(shard)}").get("cluster", {}).get("leader")
        return next((n for n, server in enumerate(self.machines) if server.name == name), None)

    @staticmethod
    def stream(shard):
        return f"relevo-shard-{shard:04x}"

    def configuration(self, files, replicas=3):
        for name, password in (("mail", "mail"), ("system", "system")):
            path = files / f"{name}.password"
            path.write_text(password)
            path.chmod(0o600)
        servers = ", ".join(f'"nats://{machine.address}:4222"' for machine in self.machines)
        return (f'[cluster.nats]\nservers = [{servers}]\nuser = "relevo"\npassword_file = "{files}/mail.password"\n'
                f'system_user = "sys"\nsystem_password_file = "{files}/system.password"\nreplicas = {replicas}\n')

    def stop(self):
        for disk in self.disks:
            disk.stop()


class Postgres:
    """A primary, which every node keeps control-plane data in, and a synchronous standby beside it, on one machine.
    `syncs`: they acknowledge what is on their disks."""

    PORTS = {"primary": 5432, "standby": 5433}

    def __init__(self, world, files, syncs=True):
        self.programs = pathlib.Path(sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1])
        self.machine, self.files, self.syncs = world.machine("db", 20), folder(files / "postgres"), syncs
        self.disks = {name: Disk(self.files / name, 1 << 30) for name in self.PORTS}
        self.processes, owner = {}, pwd.getpwnam("postgres")
        for path in (self.files, *(disk.path for disk in self.disks.values())):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        self.url = f"postgres://relevo@{self.machine.address}/relevo"

    def call(self, program, *arguments):
        self.machine.call(self.programs / program, *arguments, user="postgres")

    def data(self, name):
        return self.disks[name].path / "data"

    def begin(self, name, *, wait=True):
        # Of a server that was killed.
        (self.data(name) / "postmaster.pid").unlink(missing_ok=True)
        port, fsync = self.PORTS[name], "on" if self.syncs else "off"
        self.processes[name] = self.machine.spawn(
            self.programs / "postgres", "-D", self.data(name), "-p", port, "-c", "unix_socket_directories=", "-c", "listen_addresses=*", "-c", "max_connections=200",
            "-c", f"fsync={fsync}", "-c", "max_wal_size=256MB", log=self.files / f"{name}.log", user="postgres")
        ready = lambda: self.machine.call(self.programs / "pg_isready", "-h", "127.0.0.1", "-p", port, check=False).returncode == 0
        if wait:
            wait_until(ready, 60, f"PostgreSQL {name} listens")

    def kill(self, name):
        kill(self.processes[name])
        # The processes that it began have groups of their own, and end by themselves when it is gone.
        wait_until(lambda: not self.is_in_use(name), 30, f"PostgreSQL {name} has ended")

    def is_in_use(self, name):
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(process / "cwd").startswith(str(self.data(name))):
                    os.kill(int(process.name), signal.SIGKILL)
                    return True
            except (OSError, ValueError):
                pass
        return False

    def start(self):
        # The files lie below a folder that only root may enter otherwise.
        self.files.parent.chmod(0o755)
        self.call("initdb", "-D", self.data("primary"), "-A", "trust", "-U", "relevo")
        with (self.data("primary") / "pg_hba.conf").open("a") as access:
            access.write("host all all 10.77.0.0/24 trust\nhost replication all 127.0.0.1/32 trust\n")
        self.begin("primary")
        self.call("createdb", "-h", "127.0.0.1", "-U", "relevo", "relevo")
        source = "host=127.0.0.1 port=5432 user=relevo application_name=standby"
        self.call("pg_basebackup", "-D", self.data("standby"), "-R", "-X", "stream", "-c", "fast", "-C", "-S", "standby", "-d", source)
        self.begin("standby")
        self.call("psql", "-h", "127.0.0.1", "-U", "relevo", "-c", "ALTER SYSTEM SET synchronous_standby_names = 'ANY 1 (standby)'", "relevo")
        self.call("psql", "-h", "127.0.0.1", "-U", "relevo", "-c", "SELECT pg_reload_conf()", "relevo")

    def stop(self):
        for disk in self.disks.values():
            disk.stop()
