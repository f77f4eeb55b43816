"""What happens to servers of the engine."""

import shutil
import time

from faults import flip
from nodes import LEASE
from world import kill, wait_until


def killed_with_leader(cluster):
    """A node dies together with the server that leads its log."""
    since, began, entry = cluster.marks(), time.monotonic(), cluster.fault(1)
    if cluster.nats:
        leader = cluster.nats.leader(cluster.client, 1)
        assert leader is not None, "no server says who leads the log of shard 1"
        cluster.nats.kill(leader)
    else:
        cluster.database.kill("primary")
    kill(cluster.relays[1])
    if not cluster.nats:
        time.sleep(5)
        cluster.database.begin("primary")
    # An election, or the start of the server, comes first.
    cluster.taken_over(1, since, began, LEASE + 25)
    if cluster.nats:
        cluster.nats.begin(leader)
    cluster.begin(1)
    cluster.ready(1)
    cluster.at_home()
    cluster.over(entry)


def server_lost(cluster):
    """Each server of the engine dies once and comes back, one with an empty store."""
    entry = cluster.fault()
    for n in range(3):
        cluster.nats.kill(n)
        if n == 2:
            shutil.rmtree(cluster.nats.store(n))
        time.sleep(5)
        cluster.nats.begin(n)
        time.sleep(10)
    cluster.at_home()
    cluster.over(entry)


def engine_away(cluster):
    """No quorum for a while: nothing is taken, and nothing is lost."""
    entry = cluster.fault()
    if cluster.nats:
        for n in (0, 1):
            cluster.nats.kill(n)
    else:
        cluster.database.kill("standby")
    time.sleep(8)
    before, tried = len(cluster.taken()), (cluster.files / "client.log").stat().st_size
    time.sleep(15)
    taken = len(cluster.taken()) - before
    if cluster.nats:
        for n in (0, 1):
            cluster.nats.begin(n)
    else:
        cluster.database.begin("standby")
    assert taken == 0, f"{taken} messages were taken without a quorum"
    assert (cluster.files / "client.log").stat().st_size > tried, "nobody tried to send"
    cluster.at_home(seconds=120)
    cluster.over(entry)


def engine_full(cluster):
    """A server of the engine has no room: mail goes on, or waits until there is room."""
    entry = cluster.fault()
    if cluster.nats:
        cluster.nats.disks[1].fill()
        time.sleep(10)
        before = len(cluster.taken())
        wait_until(lambda: len(cluster.taken()) > before, 60, "two servers with room take mail")
        cluster.nats.disks[1].make_room()
        cluster.nats.kill(1)
        cluster.nats.begin(1)
    else:
        cluster.database.disks["primary"].fill()
        wait_until(lambda: cluster.database.processes["primary"].poll() is not None, 120, "PostgreSQL ends without room")
        cluster.database.disks["primary"].make_room()
        cluster.database.kill("primary")
        cluster.database.begin("primary")
    cluster.at_home(seconds=120)
    cluster.over(entry)


def server_flipped(cluster):
    """Bits of one server's store flip while it is stopped; then it has to lead."""
    entry = cluster.fault()
    cluster.nats.kill(0)
    for path in cluster.nats.store(0).glob("jetstream/MAIL/streams/relevo-shard-*/msgs/*.blk"):
        flip(path, every=1 << 16)
    cluster.nats.begin(0)
    time.sleep(10)
    for shard in (1, 2, 3):
        lead(cluster, shard, 0)
    cluster.at_home(seconds=120)
    # What it leads is read anew.
    cluster.kill(2)
    cluster.lose_directory(2)
    cluster.begin(2)
    cluster.ready(2)
    cluster.at_home(seconds=120)
    cluster.over(entry)


def lead(cluster, shard, server):
    name = cluster.nats.machines[server].name
    subject = f"$JS.API.STREAM.LEADER.STEPDOWN.{cluster.nats.stream(shard)}"
    for _ in range(5):
        if cluster.nats.leader(cluster.client, shard) == server:
            return
        cluster.nats.ask(cluster.client, subject, {"placement": {"preferred": name}})
        time.sleep(3)
    print(f"server {name} does not lead shard {shard}", flush=True)
