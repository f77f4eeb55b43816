"""Any node shows and changes any message: messages are accepted by each node, and read, listed, held and canceled by the
others, also while a node is dead and after another has taken its shard."""

import json
import sys
import time

from world import wait_until

# Messages that each node accepts, to be sent in an hour.
MESSAGES = 4
# An answer with fewer events than this has the newest ones.
NEWEST = 300
# What `ask` runs on the machine of the client: a method, a URL, a key and a body. It prints the status and the answer.
ASK = """
import sys, urllib.error, urllib.request
method, url, key, body = sys.argv[1:]
headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
request = urllib.request.Request(url, body.encode() or None, headers, method=method)
try:
    with urllib.request.urlopen(request, timeout=30) as answer:
        print(answer.status, answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
"""


class Api:
    """The API of all nodes, for the tenant."""

    def __init__(self, cluster):
        self.cluster = cluster
        said = cluster.nodes[1].call(cluster.given.relevo, "api-key", "create", "--json", "--tenant", "acme", "--name", f"reading-{time.time():.0f}",
                                     "--config", cluster.files / "node1.toml")
        self.key = json.loads(said.stdout)["token"]
        wait_until(lambda: all(self.ask(n, "GET", "/emails?limit=1")[0] == 200 for n in cluster.nodes), 30, "all nodes know the key")

    def ask(self, node, method, path, body=None):
        """The status and the answer of a node."""
        url = f"http://{self.cluster.nodes[node].address}:8025{path}"
        text = "" if body is None else json.dumps(body)
        said = self.cluster.client.call(sys.executable, "-c", ASK, method, url, self.key, text).stdout
        status, answer = said.split(" ", 1)
        return int(status), json.loads(answer)

    def send(self, node, number):
        """Accepted by a node, to be sent in an hour. Its id."""
        message = {"from": "a@example.com", "to": [f"later{number}@d1.test"], "subject": f"later {number}", "text": "hello",
                   "scheduled_at": "in 1 hour"}
        status, answer = self.ask(node, "POST", "/emails", message)
        assert status in (200, 201, 202), f"node {node}: {status} {answer}"
        return answer["id"]

    def pages(self, node, limit=3):
        """All messages that wait to be sent, page by page, and the shards that were missing."""
        found, missing, after = [], set(), ""
        for _ in range(100):
            status, page = self.ask(node, "GET", f"/emails?subject=later&status=scheduled&limit={limit}&after={after}")
            assert status == 200, f"node {node}: {status} {page}"
            found += [email["id"] for email in page["data"]]
            missing |= set(page.get("unavailable_shards", []))
            if not page["has_more"] or (missing and not page["data"]):
                return found, missing
            after = page.get("next", found[-1] if found else "")
        raise AssertionError("a list has no end")

    def events(self, node, cursor):
        """Events after a cursor until about now, and the cursor behind them. Other mail goes on meanwhile."""
        found = []
        while True:
            status, page = self.ask(node, "GET", f"/events?limit=1000&after={cursor}")
            assert status == 200, f"node {node}: {status} {page}"
            found, cursor = found + page["events"], page["cursor"]
            if len(page["events"]) < NEWEST:
                return found, cursor


def queue(cluster, node, *arguments):
    config = cluster.files / f"node{node}.toml"
    done = cluster.nodes[node].call(cluster.given.relevo, "queue", "--config", config, *arguments, check=False)
    assert done.returncode == 0, f"queue {arguments} at node {node}: {done.stdout}{done.stderr}"
    return done.stdout


def read_anywhere(cluster):
    """Every node shows and changes the messages of all, also of one that died."""
    api = Api(cluster)
    _, begin = api.events(2, "latest")
    sent = {api.send(node, node * 10 + number): node for node in cluster.nodes for number in range(MESSAGES)}
    for node in cluster.nodes:
        found, missing = api.pages(node)
        assert sorted(found) == sorted(sent) and not missing, f"node {node} lists {len(found)} of {len(sent)}, without {missing}"
        for email in sent:
            status, answer = api.ask(node, "GET", f"/emails/{email}")
            assert (status, answer.get("last_event")) == (200, "scheduled"), f"node {node}: {status} {answer}"
    status, answer = api.ask(2, "GET", f"/emails/{next(iter(sent))}/content")
    assert status == 200 and answer["text"].strip() == "hello", f"{status} {answer}"

    # An operator at one node, a tenant at another, and the message at a third.
    of = {node: [email for email, home in sent.items() if home == node] for node in cluster.nodes}
    queue(cluster, 2, "hold", of[1][0])
    shown = json.loads(queue(cluster, 3, "--json", "show", of[1][0]))
    assert [delivery["held"] for delivery in shown["deliveries"]] == [True], f"{shown}"
    waiting = {message["id"] for message in json.loads(queue(cluster, 3, "--json", "list"))}
    assert waiting >= set(sent), f"{len(waiting & set(sent))} of {len(sent)} are listed"
    status, answer = api.ask(3, "POST", f"/emails/{of[1][1]}/cancel")
    assert (status, answer.get("canceled")) == (200, 1), f"{status} {answer}"
    status, answer = api.ask(1, "GET", f"/emails/{of[1][1]}")
    assert answer.get("last_event") == "canceled", f"{status} {answer}"

    # While a node is dead its messages are missing, and nothing else is; then another node has them.
    cluster.kill(1)
    found, missing = api.pages(3)
    assert missing == {1} and not set(found) & set(of[1]) and set(of[2] + of[3]) <= set(found), f"{missing} {found}"
    status, answer = api.ask(3, "GET", f"/emails/{of[1][2]}")
    assert status == 503, f"a message of a dead node: {status} {answer}"
    first, cursor = api.events(2, begin)
    wait_until(lambda: not api.pages(3)[1], 60, "lists are whole again")
    found, _ = api.pages(2)
    assert sorted(found) == sorted(set(sent) - {of[1][1]}), f"{len(found)} of {len(sent) - 1}"
    second, _ = api.events(2, cursor)
    cluster.begin(1)
    cluster.ready(1)

    # Nobody lost an event to the move of the shard, and nobody got one twice.
    queued = [event["message_id"] for event in first + second if event["type"] == "email.queued" and event["message_id"] in sent]
    assert sorted(queued) == sorted(sent), f"{len(queued)} events of {len(sent)} messages"
    for email in sent:
        api.ask(2, "POST", f"/emails/{email}/cancel")
