"""What happens to relays: each function is a fault, waits until the cluster is whole again, and has a line about it."""

import os
import pathlib
import shutil
import signal
import time

from nodes import LEASE
from world import kill, send, wait_until

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]


def contract(cluster):
    """The engine keeps its contract."""
    test = "jetstream" if cluster.nats else "postgres"
    settings = [f"RELEVO_POSTGRES_CLUSTER={cluster.database.url}"]
    if cluster.nats:
        settings = [f"RELEVO_NATS=nats://relevo:mail@{cluster.nats.machines[0].address}:4222", "RELEVO_NATS_SYSTEM=sys:system"]
    done = cluster.client.call("env", "-C", REPOSITORY, *settings, "cargo", "test", "--quiet", "--locked", "--package", "relevo-cluster", "--features",
                               "engine-tests", "--test", test, check=False, timeout=1800)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-1000:]


def rolling(cluster):
    """Nodes are started anew, one by one: with RELEVO_OLD they ran another version before."""
    cluster.program = cluster.given.relevo
    for n in (1, 2, 3):
        since, began = cluster.marks(), time.monotonic()
        cluster.end(n)
        wait_until(lambda: cluster.served(n, since, [m for m in cluster.nodes if m != n]), 20, f"the shard of node {n} is served at once")
        assert time.monotonic() - began < LEASE, "a shard that is given up is taken without waiting for its lease"
        cluster.begin(n)
        cluster.ready(n)
    cluster.at_home()


def killed(cluster):
    """A node dies, and another serves its shard; then it comes back and has its home again."""
    since, began = cluster.marks(), time.monotonic()
    cluster.kill(1)
    cluster.taken_over(1, since, began)
    cluster.begin(1)
    cluster.ready(1)
    cluster.at_home(1)


def stopped(cluster):
    """A node sleeps for longer than its lease, and wakes as one that owns nothing."""
    asleep(cluster, 2)
    cluster.at_home(2)


def asleep(cluster, n):
    since, began, entry = cluster.marks(), time.monotonic(), cluster.fault(n)
    entry["keeps"] = True
    send(cluster.relays[n], signal.SIGSTOP)
    cluster.taken_over(n, since, began)
    send(cluster.relays[n], signal.SIGCONT)
    # What was under way when it went to sleep may be made again by the other node until its settlements are refused.
    cluster.over(entry)


def stopped_and_lost(cluster):
    """A node sleeps for longer than its lease, and its disk is lost soon after it wakes."""
    asleep(cluster, 2)
    time.sleep(2)
    cluster.kill(2)
    cluster.lose_directory(2)
    cluster.begin(2)
    cluster.ready(2)
    cluster.at_home(2)


def cut_off(cluster):
    """A node loses the engine, and nothing else."""
    others = cluster.nats.machines if cluster.nats else [cluster.database.machine]
    since, began, entry = cluster.marks(), time.monotonic(), cluster.fault(1)
    for machine in others:
        cluster.nodes[1].cut(machine)
    try:
        # It renewed up to 3 s before, and learns after up to 10 s that it is alone.
        cluster.taken_over(1, since, began)
    finally:
        for machine in others:
            cluster.nodes[1].heal(machine)
    cluster.at_home(1)
    cluster.over(entry)


def partitions(cluster):
    """Each pair of machines loses each other for some seconds: relays, servers, and one of each."""
    servers = cluster.nats.machines if cluster.nats else [cluster.database.machine]
    machines = [cluster.nodes[n] for n in (1, 2, 3)] + servers
    entry = cluster.fault()
    for number, one in enumerate(machines):
        for other in machines[number + 1:]:
            one.cut(other)
            time.sleep(5)
            one.heal(other)
    cluster.at_home()
    cluster.over(entry)


def disk_lost(cluster):
    """A node dies with its disk, and starts from an empty directory."""
    cluster.kill(2)
    cluster.lose_directory(2)
    cluster.begin(2)
    cluster.ready(2)
    cluster.at_home(2)


def relay_full(cluster):
    """A node's disk is full: others take its mail, and it goes on when there is room."""
    entry = cluster.fault(1)
    cluster.disks[1].fill()
    time.sleep(15)
    before = len([1 for taken in cluster.taken() if taken[3] == cluster.nodes[1].address])
    time.sleep(5)
    after = len([1 for taken in cluster.taken() if taken[3] == cluster.nodes[1].address])
    cluster.disks[1].make_room()
    assert after == before, f"{after - before} messages were taken by a node without room"
    wait_until(lambda: len([1 for taken in cluster.taken() if taken[3] == cluster.nodes[1].address]) > after, 120, "the node takes mail again")
    cluster.at_home(1)
    cluster.over(entry)


def relay_flipped(cluster):
    """Bits of a node's directory flip while it is stopped: the comparison finds it, and the log has everything."""
    cluster.end(2)
    segments = sorted((cluster.data(2) / "segments").iterdir(), key=lambda path: path.stat().st_size)
    flip(segments[-1], every=4096)
    flip(cluster.data(2) / "index.redb", every=1 << 16)
    found = cluster.nodes[2].call(cluster.given.relevo, "shard", "verify", "--config", cluster.config(2), check=False)
    assert found.returncode != 0, f"the comparison finds no difference: {found.stdout}"
    cluster.begin(2)
    cluster.ready(2)
    cluster.at_home(2)


def flip(path, every, start=4096):
    """One bit in so many octets."""
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        for place in range(start, size, every):
            file.seek(place)
            octet = file.read(1)
            file.seek(place)
            file.write(bytes([octet[0] ^ 0x10]))
        os.fsync(file.fileno())


def clocks(cluster):
    """The clock of a node jumps an hour ahead, and back."""
    entry = cluster.fault(3)
    cluster.clock(3600)
    time.sleep(20)
    cluster.clock(0)
    time.sleep(10)
    cluster.at_home()
    cluster.over(entry)


def added(cluster):
    """A fourth node joins under load, and leaves for good: another serves its shard."""
    cluster.nodes[4] = cluster.guest
    cluster.add_disk(4)
    cluster.data(4).mkdir(mode=0o700)
    shutil.copytree(cluster.data(1) / "components", cluster.data(4) / "components")
    cluster.begin(4)
    cluster.ready(4)
    cluster.at_home(1, 2, 3, 4)
    wait_until(lambda: any(taken[3] == cluster.nodes[4].address for taken in cluster.taken()), 30, "the new node takes mail")
    since = cluster.marks()
    cluster.end(4)
    wait_until(lambda: cluster.served(4, since, [1, 2, 3]), LEASE, "the shard of a node that leaves is served at once")
    cluster.at_home(1, 2, 3)
    cluster.nodes.pop(4)


def power_lost(cluster):
    """All machines lose their power at once."""
    lose_power(cluster, [1, 2, 3])
    restart(cluster, [1, 2, 3])


def power_and_disks_lost(cluster):
    """All machines lose their power at once, and no disk of a relay comes back."""
    lose_power(cluster, [1, 2, 3])
    for n in (1, 2, 3):
        cluster.lose_directory(n)
    restart(cluster, [1, 2, 3])


def lose_power(cluster, nodes):
    entry = cluster.fault()
    engine = cluster.nats.disks if cluster.nats else []
    disks = [*engine, *cluster.database.disks.values(), *(cluster.disks[n] for n in nodes)]
    for disk in disks:
        disk.cut()
    for n in nodes:
        kill(cluster.relays[n])
    if cluster.nats:
        for n in range(3):
            cluster.nats.kill(n)
    for name in cluster.database.PORTS:
        cluster.database.kill(name)
    for disk in disks:
        disk.restart()
    cluster.dark = entry


def restart(cluster, nodes):
    cluster.database.begin("primary")
    cluster.database.begin("standby")
    if cluster.nats:
        for n in range(3):
            cluster.nats.begin(n)
        time.sleep(3)
    for n in nodes:
        cluster.begin(n)
    for n in nodes:
        cluster.ready(n)
    cluster.at_home()
    cluster.over(cluster.dark)
