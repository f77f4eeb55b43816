"""The check: what was answered 250 or 202 arrives, once, within the caps, and events say so. Each objection is a word for its
kind, and what is wrong."""

import collections
import json
import time

# Attempts of one node that may be under way, or settled and not on disk yet, when its shard is lost.
UNDER_WAY = 2 * (12 + 2)
# A settlement is written this long after its attempt at most, while nothing is wrong.
SETTLES = 3
# Nothing arrives for so long: what is missing will not come.
STUCK = 40
FINAL = {"email.delivered", "email.bounced", "email.expired", "email.failed", "email.suppressed"}


def lines(path):
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            yield json.loads(line)
        except ValueError:
            # The last one, of a process that was killed.
            pass


class Check:
    def __init__(self, cluster):
        self.cluster, self.files, self.objections, self.figures = cluster, cluster.files, [], []

    def object(self, kind, what):
        self.objections.append(f"{kind}: {what}")

    def run(self, until=()):
        """Ends the load, waits until what was taken is there, and looks at everything; or until there is an objection of one
        of these kinds."""
        for part in (self.pending, self.ended, self.arrived, self.repeats, self.connections, self.rates, self.events, self.compared):
            part()
            if self.named(until):
                return
        if self.cluster.takeovers:
            took = sorted(self.cluster.takeovers)
            self.figures.append(f"{len(took)} takeovers after {took[0]:.1f} to {took[-1]:.1f} s")

    def named(self, kinds):
        """The first objection of one of these kinds."""
        return next((objection for objection in self.objections if objection.split(":")[0] in kinds), None)

    def ended(self):
        self.files.joinpath("stop").touch()
        self.cluster.sender.wait(120)

    def counted(self):
        return collections.Counter(who for entry in lines(self.files / "sink.jsonl") for who in entry[1])

    def pending(self):
        """What is taken and not delivered waits in one shard. The sink is read last: it may have more by then."""
        taken = [entry[1] for entry in self.cluster.taken()]
        # Each node lists the messages of all.
        listed = collections.Counter()
        for n in self.cluster.nodes:
            found = self.cluster.nodes[n].call(self.cluster.given.relevo, "queue", "list", "--json", "--config", self.cluster.config(n), check=False)
            if found.returncode != 0:
                self.object("away", f"node {n} does not list its queue: {found.stderr[-200:]}")
                return
            listed |= collections.Counter(item["subject"] for item in json.loads(found.stdout))
        arrived = self.counted()
        nowhere = [who for who in taken if who not in listed and who not in arrived]
        if nowhere:
            self.object("lost", f"{len(nowhere)} were taken, and are neither delivered nor in a queue, such as {nowhere[:3]}")
        twice = [who for who, count in listed.items() if count > 1]
        if twice:
            self.object("twice", f"{len(twice)} messages are in two shards, such as {twice[:3]}")
        self.figures.append(f"{sum(listed.values())} were waiting, each in one shard")

    def arrived(self):
        taken = {entry[1] for entry in self.cluster.taken()}
        if len(taken) < 100:
            self.object("idle", f"only {len(taken)} messages were taken")
        # What waits for a rate comes late, but it comes.
        missing, since = taken, time.monotonic()
        while missing and time.monotonic() - since < STUCK:
            time.sleep(1)
            left = taken - self.counted().keys()
            if len(left) < len(missing):
                missing, since = left, time.monotonic()
        if missing:
            self.object("lost", f"{len(missing)} of {len(taken)} that were taken do not arrive, such as {sorted(missing)[:3]}")
        self.figures.append(f"{len(taken)} messages taken, {len(taken) - len(missing)} delivered")

    def repeats(self):
        """A second copy is excused by a fault soon after the first one, and each fault excuses so many as can have been under way."""
        copies, excused, strange = collections.defaultdict(list), collections.Counter(), []
        for entry in lines(self.files / "sink.jsonl"):
            for who in entry[1]:
                copies[who].append((entry[0], entry[3]))
        for who, found in copies.items():
            for (at, _), _ in zip(found, found[1:]):
                fault = next((number for number, fault in enumerate(self.cluster.journal)
                              if fault["began"] - SETTLES <= at <= (fault["until"] or time.time()) + SETTLES), None)
                if fault is None:
                    strange.append(who)
                else:
                    excused[fault] += 1
        if strange:
            self.object("repeated", f"{len(strange)} copies were repeated without a fault, such as {strange[:3]}")
        for fault, count in excused.items():
            most = UNDER_WAY * len(self.cluster.journal[fault]["nodes"])
            if count > most:
                self.object("repeated", f"{count} copies were repeated by a fault at which {most} can have been under way")
        most = max(excused.values(), default=0)
        self.figures.append(f"{sum(excused.values())} repeats by {len(self.cluster.journal)} faults, {most} by one at most")

    def is_asleep(self, peer, at):
        """A node that is stopped, or cut off from the others, keeps the connections that it has: nobody can ask for them back."""
        return any(fault.get("keeps") and peer in fault["nodes"] and fault["began"] <= at <= (fault["until"] or at) + SETTLES
                   for fault in self.cluster.journal)

    def connections(self):
        from nodes import CAPS
        for site, cap in CAPS["connections"].items():
            now, most, over = collections.Counter(), 0, 0
            for at, peer, where, change in lines(self.files / "connections.jsonl"):
                if where == site:
                    now[peer] += change
                    counted = sum(count for node, count in now.items() if not self.is_asleep(node, at))
                    most, over = max(most, counted), over + (counted > cap)
            if most > cap:
                self.object("cap", f"{most} connections at a time to {site}, of {cap} for all nodes ({over} times)")
            if most < cap - 2:
                self.object("idle", f"the load reached only {most} of {cap} connections to {site}")
            self.figures.append(f"at most {most} of {cap} connections to {site}")

    def rates(self):
        """Of messages that began, in any minute. What may go at once is added, and one for each further node."""
        from nodes import CAPS
        for site, rate in CAPS["rate"].items():
            began = sorted(entry[4] for entry in lines(self.files / "sink.jsonl") if entry[2] == site)
            first, most = 0, 0
            for last, at in enumerate(began):
                while began[first] < at - 60:
                    first += 1
                most = max(most, last - first + 1)
            allowed = rate + rate // 30 + len(self.cluster.nodes) - 1
            if most > allowed:
                self.object("cap", f"{most} messages in a minute to {site}, of {rate} for all nodes ({allowed} with what may go at once)")
            self.figures.append(f"at most {most} messages in a minute of {rate} to {site}")

    def events(self):
        """Those of each message: it is queued first, and each recipient has one end, after which nothing is tried."""
        script = (
            "import json, sys, urllib.request\n"
            "after = '0'\n"
            "while True:\n"
            "    request = urllib.request.Request(f'http://{sys.argv[1]}:8025/events?limit=1000&after={after}', headers={'Authorization': 'Bearer ' + sys.argv[2]})\n"
            "    page = json.load(urllib.request.urlopen(request, timeout=30))\n"
            "    if not page['events']: break\n"
            "    for event in page['events']: print(json.dumps({key: event.get(key) for key in ('type', 'cursor', 'message_id', 'recipient')}))\n"
            "    after = page['cursor']\n")
        found, arrived = [], self.counted()
        # What has just arrived is settled.
        time.sleep(SETTLES)
        for n in self.cluster.nodes:
            done = self.cluster.client.call("python3", "-c", script, self.cluster.nodes[n].address, self.cluster.key, check=False)
            if done.returncode != 0:
                self.object("away", f"node {n} does not list its events: {done.stderr[-200:]}")
                return
            told = [json.loads(line) for line in done.stdout.splitlines()]
            # Each node tells those of all, and those of a message in order.
            if found and len(told) != len(found):
                self.object("events", f"node {n} tells {len(told)} events, and another {len(found)}")
            found = told
        messages = collections.defaultdict(list)
        for event in found:
            messages[event["message_id"]].append(event)
        wrong = []
        homes = {machine.address for machine in self.cluster.nodes.values()}
        # Events of a node that left for good are told by nobody.
        for _, who, message, node in self.cluster.taken():
            if node not in homes:
                continue
            kinds = [event["type"] for event in messages.get(message, [])]
            ends = [kind for kind in kinds if kind in FINAL]
            if who in arrived and (kinds[:1] != ["email.queued"] or kinds.count("email.queued") != 1 or len(ends) != 1 or kinds[-1] not in FINAL):
                wrong.append((who, kinds))
        if wrong:
            self.object("events", f"{len(wrong)} messages have other events than one end after all else, such as {wrong[:3]}")
        self.figures.append(f"{len(found)} events of {len(messages)} messages")

    def compared(self):
        """The directory of each node has what its log has."""
        for n in self.cluster.nodes:
            self.cluster.end(n)
        for n in self.cluster.nodes:
            done = self.cluster.nodes[n].call(self.cluster.given.relevo, "shard", "verify", "--config", self.cluster.config(n), check=False)
            if done.returncode != 0:
                self.object("verify", f"node {n}: {(done.stdout + done.stderr)[-300:]}")
