"""Relays, what they send to, and what was done to them."""

import json
import pathlib
import re
import shutil
import signal
import sys
import textwrap
import time

from check import lines
from disks import Disk
from engines import Nats, Postgres
from world import World, kill, send, wait_until

HERE = pathlib.Path(__file__).resolve().parent
# The lapse of a lease as an onlooker sees it, and a round. What is beyond is replay.
LEASE = 18
# Replay of what these runs have, by a debug build on a busy machine.
REPLAY = 8
# Of all nodes together: connections to the site that gets most of the mail; messages in a minute and connections to
# the provider that has a rate.
CAPS = {"connections": {"main": 12, "slow": 2}, "rate": {"slow": 60}}
# Where the clock of node 3 comes from.
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"


class Cluster:
    """`seed`: what is wrong on purpose, see `seeded.py`."""

    def __init__(self, given, kind, files, seed=None, program=None):
        self.given, self.kind, self.files, self.seed, self.world = given, kind, files, seed, World()
        self.world.start()
        syncs = seed != "no_sync"
        self.database = Postgres(self.world, files, syncs or kind == "nats")
        self.nats = Nats(self.world, given.nats, files, syncs) if kind == "nats" else None
        self.nodes, self.disks, self.relays = {}, {}, {}
        self.sink, self.client, self.names = self.world.machine("sink", 30), self.world.machine("client", 31), self.world.machine("dns", 33)
        self.slow_address = f"{self.sink.address[:-2]}32"
        self.sink.add_address(self.slow_address)
        for n in (1, 2, 3):
            self.nodes[n] = self.world.machine(f"n{n}", n)
            self.add_disk(n)
        # It joins and leaves in one of the faults.
        self.guest = self.world.machine("n4", 4)
        self.program = program or given.old or given.relevo
        # Faults: from when on, until when, and which nodes they concern; and takeovers, in seconds.
        self.journal, self.takeovers = [], []

    def add_disk(self, n):
        self.disks[n] = Disk(self.files / f"node{n}")

    def start(self):
        secret = self.files / "cluster.secret"
        secret.write_text("the same on all nodes, and known to nobody else")
        secret.chmod(0o600)
        (self.files / "shaping.toml").write_text(
            'version = "cluster"\n[[provider]]\nname = "slow"\nmx = ["mx.slow.test"]\n'
            f'connections = {CAPS["connections"]["slow"]}\nmessages_per_minute = {CAPS["rate"]["slow"]}\n')
        self.database.start()
        if self.nats:
            self.nats.start()
        self.names.spawn(sys.executable, HERE / "names.py", self.names.address, self.sink.address, self.slow_address, log=self.files / "names.log")
        self.sink.spawn(sys.executable, HERE / "load.py", "sink", self.files, f"main={self.sink.address}", f"slow={self.slow_address}",
                        log=self.files / "sink.log")
        self.clock(0)
        self.compile()
        for n in self.nodes:
            self.begin(n)
        for n in self.nodes:
            self.ready(n)
        made = self.client.call(self.given.relevo, "api-key", "create", "--config", self.config(1), "--tenant", "acme", "--name", "check", "--json")
        self.key = json.loads(made.stdout)["token"]

    def compile(self):
        """Gives each node the components as they were compiled before. A debug build takes a minute for them."""
        kept = pathlib.Path(self.given.nats).parent / "components"
        if not kept.exists():
            self.begin(1)
            self.ready(1, 300)
            shutil.copytree(self.data(1) / "components", kept)
            self.end(1)
            self.journal.clear()
        for n in self.nodes:
            self.data(n).mkdir(mode=0o700, exist_ok=True)
            shutil.copytree(kept, self.data(n) / "components", dirs_exist_ok=True)

    def config(self, n):
        return self.files / f"node{n}.toml"

    def data(self, n):
        return self.disks[n].path / "data"

    def log(self, n):
        return self.files / f"node{n}.log"

    def configure(self, n):
        engine = self.nats.configuration(self.files) if self.nats else ""
        shared = "" if self.seed == "own_cap" else f'listen = "0.0.0.0:8626"\nsecret_file = "{self.files}/cluster.secret"\n'
        self.config(n).write_text(textwrap.dedent(f"""\
            hostname = "mta{n}.test"
            postmaster = "p@mta.test"
            data_dir = "{self.data(n)}"
            min_free = "10MiB"
            [dns]
            nameservers = ["{self.names.address}"]
            [smtp]
            relay = ["0.0.0.0:2525"]
            trusted_networks = ["10.77.0.0/24"]
            [http]
            listen = ["0.0.0.0:8025"]
            [delivery]
            allow_networks = ["10.77.0.0/24"]
            ip = "ipv4"
            retry = ["2s", "5s"]
            connections_per_site = {CAPS["connections"]["main"]}
            mta_sts = false
            dane = false
            [shaping]
            rules = "{self.files}/shaping.toml"
            [store]
            url = "{self.database.url}"
            [[tenant]]
            id = "acme"
            [[tenant.domain]]
            name = "example.com"
            [cluster]
            engine = "{self.kind}"
            node = "n{n}"
            shard = {n}
            address = "http://{self.nodes[n].address}:8025"
            unsafe = {str(self.seed == "no_sync").lower()}
            """) + shared + engine)

    def begin(self, n):
        self.configure(n)
        environment = {"RELEVO_SEEDED_BUG": self.seed} if self.seed else {}
        if n == 3:
            # Its clock can be moved; the one that leases count by cannot.
            environment |= {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(self.files / "clock"), "FAKETIME_CACHE_DURATION": "1",
                            "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        self.relays[n] = self.nodes[n].spawn(self.program, "serve", "--config", self.config(n), log=self.log(n), environment=environment)

    def clock(self, seconds):
        """Moves the wall clock of node 3."""
        new = self.files / "clock.new"
        new.write_text(f"{seconds:+d}\n")
        new.rename(self.files / "clock")

    def is_ready(self, n):
        address = self.nodes[n].address
        probe = f"import urllib.request; urllib.request.urlopen('http://{address}:8025/readyz', timeout=2)"
        return self.client.call(sys.executable, "-c", probe, check=False).returncode == 0

    def ready(self, n, seconds=120):
        return wait_until(lambda: self.is_ready(n), seconds, f"node {n} is ready")

    def fault(self, *nodes):
        """Something begins to be wrong with these nodes. Returns the entry, whose `until` is set by `over`."""
        entry = {"began": time.time(), "until": None, "nodes": [self.nodes[n].address for n in nodes or self.nodes]}
        self.journal.append(entry)
        return entry

    @staticmethod
    def over(entry):
        entry["until"] = time.time()

    def kill(self, n):
        entry = self.fault(n)
        kill(self.relays[n])
        self.over(entry)

    def end(self, n):
        """An orderly stop."""
        entry = self.fault(n)
        send(self.relays[n], signal.SIGTERM)
        self.relays[n].wait(60)
        self.over(entry)

    def lose_directory(self, n):
        for path in self.data(n).iterdir():
            # Compiling them takes a minute, and shows nothing here.
            if path.name != "components":
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def status(self):
        answered = self.client.call(self.given.relevo, "cluster", "status", "--json", "--config", self.config(1), check=False)
        shards = json.loads(answered.stdout)["shards"] if answered.stdout.startswith("{") else []
        return {shard["shard"]: shard["holder"] for shard in shards if not shard["is_free"]}

    def served(self, n, since, by):
        """When one of these nodes began to serve a shard, by their logs; the clock of node 3 may be wrong, so its log is
        watched instead."""
        for node in by:
            for text in self.log(node).read_text(errors="replace")[since.get(node, 0):].splitlines():
                if re.search(rf"the shard is served.*shard=0*{n}\b", text):
                    return node
        return None

    def marks(self):
        return {n: len(self.log(n).read_text(errors="replace")) for n in self.nodes}

    def taken_over(self, n, since, began, limit=LEASE + REPLAY):
        """Waits until another node serves the shard; the time since `began` (monotonic) is written down."""
        others = [node for node in self.nodes if node != n]
        wait_until(lambda: self.served(n, since, others), limit + 30, f"the shard of node {n} is served by another")
        took = time.monotonic() - began
        self.takeovers.append(took)
        assert took <= limit, f"taken over after {took:.1f} s"
        return took

    def at_home(self, *nodes, seconds=90):
        """Waits until these nodes serve their own shards."""
        wanted = {n: f"n{n}" for n in nodes or self.nodes}
        wait_until(lambda: wanted.items() <= self.status().items(), seconds, f"{wanted} are at home")

    def send(self):
        addresses = [machine.address for machine in (*self.nodes.values(), self.guest)]
        self.sender = self.client.spawn(sys.executable, HERE / "load.py", "client", self.files, self.key, *addresses, log=self.files / "client.log")

    def taken(self):
        return list(lines(self.files / "taken.jsonl"))

    def stop(self):
        self.world.stop()
        for disk in self.disks.values():
            disk.stop()
        self.database.stop()
        if self.nats:
            self.nats.stop()
