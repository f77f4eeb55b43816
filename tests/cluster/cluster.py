"""Three relays over a real engine lose nodes, disks and connections while mail is sent to them. What was answered
250 must arrive, and only attempts that were under way at a fault may be made twice."""

import argparse
import collections
import json
import pathlib
import shutil
import signal
import sys
import tempfile
import textwrap
import time

from engines import Nats, Postgres
from world import World, folder, send, wait_until

HERE = pathlib.Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
# The lapse of a lease, a round to see it, and the replay of what these runs have.
TAKEOVER = 25
# Connections to the sink, of all nodes together. One that sleeps keeps those that it has.
CONNECTIONS = 12
# Attempts that may be under way, or settled and not on disk yet, when a shard is lost; for each fault.
UNDER_WAY = 2 * CONNECTIONS


class Cluster:
    def __init__(self, given, kind, files):
        self.given, self.kind, self.files, self.world = given, kind, files, World()
        self.world.start()
        self.database = Postgres(self.world, files)
        self.nats = Nats(self.world, given.nats, files) if kind == "nats" else None
        self.nodes = {n: self.world.machine(f"n{n}", n) for n in (1, 2, 3)}
        self.sink, self.client = self.world.machine("sink", 30), self.world.machine("client", 31)
        self.relays, self.stop_file, self.faults = {}, files / "stop", 0

    def start(self):
        secret = self.files / "cluster.secret"
        secret.write_text("the same on all nodes, and known to nobody else")
        secret.chmod(0o600)
        self.database.start()
        if self.nats:
            self.nats.start()
        self.sink.spawn(sys.executable, HERE / "load.py", "sink", self.files / "sink.jsonl", self.files / "connections", log=self.files / "sink.log")
        for n in self.nodes:
            self.begin(n)
        for n in self.nodes:
            self.ready(n)

    def begin(self, n):
        data, config = folder(self.files / f"node{n}"), self.files / f"node{n}.toml"
        engine = self.nats.configuration(self.files) if self.nats else ""
        config.write_text(textwrap.dedent(f"""\
            hostname = "mta{n}.test"
            postmaster = "p@mta.test"
            data_dir = "{data}"
            min_free = "10MiB"
            [smtp]
            relay = ["0.0.0.0:2525"]
            trusted_networks = ["10.77.0.0/24"]
            [http]
            listen = ["0.0.0.0:8025"]
            [delivery]
            smarthost = {{ host = "{self.sink.address}", port = 25, tls = "none" }}
            retry = ["2s", "5s"]
            connections_per_site = {CONNECTIONS}
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
            listen = "0.0.0.0:8626"
            secret_file = "{self.files}/cluster.secret"
            """) + engine)
        self.relays[n] = self.nodes[n].spawn(self.given.relevo, "serve", "--config", config, log=self.files / f"node{n}.log")

    def ready(self, n, seconds=180):
        address = self.nodes[n].address
        probe = f"import urllib.request; urllib.request.urlopen('http://{address}:8025/readyz', timeout=2)"
        return wait_until(lambda: self.client.call(sys.executable, "-c", probe, check=False).returncode == 0, seconds, f"node {n} is ready")

    def kill(self, n):
        self.faults += 1
        send(self.relays[n], signal.SIGKILL)
        self.relays[n].wait()

    def status(self):
        answered = self.nodes[3].call(self.given.relevo, "cluster", "status", "--json", "--config", self.files / "node3.toml", check=False)
        shards = json.loads(answered.stdout)["shards"] if answered.stdout.startswith("{") else []
        return {shard["shard"]: shard["holder"] for shard in shards if not shard["is_free"]}

    def served_by_others(self, n):
        return lambda: self.status().get(n) not in (None, "", f"n{n}")

    def send(self):
        addresses = [machine.address for machine in self.nodes.values()]
        self.sender = self.client.spawn(sys.executable, HERE / "load.py", "client", self.files / "taken.jsonl", self.stop_file, *addresses,
                                        log=self.files / "client.log")

    def check(self):
        """Ends the load, and waits until all that was taken is there."""
        self.stop_file.touch()
        self.sender.wait(60)
        taken = {entry[1] for entry in lines(self.files / "taken.jsonl")}
        assert len(taken) > 100, f"only {len(taken)} messages were taken"
        counted = lambda: collections.Counter(who for entry in lines(self.files / "sink.jsonl") for who in entry[1])
        wait_until(lambda: not taken - counted().keys(), 120, f"{len(taken - counted().keys())} of {len(taken)} that were taken arrive")
        found = counted()
        repeated = sum(found.values()) - len(found)
        assert repeated <= UNDER_WAY * max(self.faults, 1), f"{repeated} repeats after {self.faults} faults"
        most = max(int(line) for line in (self.files / "connections").read_text().split())
        return f"at most {most} connections at a time of {CONNECTIONS} for all nodes, {len(taken)} taken, all delivered, {repeated} repeats, {self.faults} faults"

    def stop(self):
        self.world.stop()


def lines(path):
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            yield json.loads(line)
        except ValueError:
            # The last one, of a process that was killed.
            pass


def contract(cluster):
    """The engine keeps its contract."""
    test = "jetstream" if cluster.nats else "postgres"
    settings = [f"RELEVO_POSTGRES_CLUSTER={cluster.database.url}"]
    if cluster.nats:
        settings = [f"RELEVO_NATS=nats://relevo:mail@{cluster.nats.machines[0].address}:4222", "RELEVO_NATS_SYSTEM=sys:system"]
    done = cluster.client.call("env", "-C", REPOSITORY, *settings, "cargo", "test", "--quiet", "--locked", "--package", "relevo-cluster", "--features",
                               "engine-tests", "--test", test, check=False, timeout=1200)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-1000:]


def killed(cluster):
    """A node dies, and another serves its shard; then it comes back and has its home again."""
    cluster.kill(1)
    took = wait_until(cluster.served_by_others(1), TAKEOVER + 10, "the shard of a dead node is served")
    assert took <= TAKEOVER + 7, f"taken over after {took:.0f} s"
    cluster.begin(1)
    cluster.ready(1)
    wait_until(lambda: cluster.status().get(1) == "n1", 30, "the node has its home again")


def stopped(cluster):
    """A node sleeps for longer than its lease, and wakes as one that owns nothing."""
    cluster.faults += 1
    send(cluster.relays[2], signal.SIGSTOP)
    wait_until(cluster.served_by_others(2), TAKEOVER + 10, "the shard of a sleeping node is served")
    send(cluster.relays[2], signal.SIGCONT)
    wait_until(lambda: cluster.status().get(2) == "n2", 60, "the node has its home again")


def cut_off(cluster):
    """A node loses the engine, and nothing else."""
    cluster.faults += 1
    others = cluster.nats.machines if cluster.nats else [cluster.database.machine]
    for machine in others:
        cluster.nodes[1].cut(machine)
    try:
        wait_until(cluster.served_by_others(1), TAKEOVER + 20, "the shard of a node that is cut off is served")
    finally:
        for machine in others:
            cluster.nodes[1].heal(machine)
    wait_until(lambda: cluster.status().get(1) == "n1", 90, "the node has its home again")


def disk_lost(cluster):
    """A node dies with its disk, and starts from an empty directory."""
    cluster.kill(2)
    shutil.rmtree(cluster.files / "node2")
    cluster.begin(2)
    cluster.ready(2)


def server_lost(cluster):
    """Each server of the engine dies once and comes back, one with an empty store."""
    for n in range(3):
        cluster.nats.kill(n)
        if n == 2:
            shutil.rmtree(cluster.nats.store(n))
        time.sleep(5)
        cluster.nats.begin(n)
        time.sleep(10)


def engine_away(cluster):
    """No quorum for a while: nothing is taken, and nothing is lost."""
    for n in (0, 1):
        cluster.nats.kill(n)
    time.sleep(8)
    before = sum(1 for _ in lines(cluster.files / "taken.jsonl"))
    time.sleep(5)
    assert sum(1 for _ in lines(cluster.files / "taken.jsonl")) == before, "mail was taken without a quorum"
    for n in (0, 1):
        cluster.nats.begin(n)
    cluster.faults += 3
    wait_until(lambda: set(cluster.status().values()) >= {"n1", "n2", "n3"}, 120, "all nodes serve again")


ROWS = {
    "nats": [contract, killed, stopped, cut_off, disk_lost, server_lost, engine_away],
    "postgres": [contract, killed, stopped, cut_off, disk_lost],
}


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--relevo", required=True)
    arguments.add_argument("--nats", required=True)
    arguments.add_argument("--engine", choices=[*ROWS], help="only this engine")
    arguments.add_argument("--fault", metavar="NAME", help="only this fault")
    given = arguments.parse_args()
    failed = 0
    for kind, faults in ROWS.items():
        faults = [fault for fault in faults if given.fault in (None, fault.__name__)]
        if given.engine in (None, kind) and faults:
            failed += engine(given, kind, faults)
    print(f"\ncluster: {failed} failed")
    return 1 if failed else 0


def engine(given, kind, faults):
    files = pathlib.Path(tempfile.mkdtemp(prefix=f"relevo-cluster-{kind}-"))
    cluster, failed = Cluster(given, kind, files), 0
    try:
        cluster.start()
        cluster.send()
        for fault in faults:
            began = time.monotonic()
            result = attempt(lambda: fault(cluster))
            failed += result != "ok"
            print(f"{kind}: {fault.__doc__.strip()[:90]:92} {result}  {time.monotonic() - began:.0f} s", flush=True)
        result = attempt(lambda: print(f"{kind}: {cluster.check()}"))
        failed += result != "ok"
        print(f"{kind}: what was taken arrives: {result}", flush=True)
    finally:
        cluster.stop()
        if failed:
            print(f"what the processes wrote is in {files}")
        else:
            shutil.rmtree(files, ignore_errors=True)
    return failed


def attempt(check):
    try:
        check()
        return "ok"
    except Exception as error:  # noqa: BLE001 a row reports whatever went wrong
        return f"FAILED: {error}"


if __name__ == "__main__":
    raise SystemExit(main())
