"""Requests that nobody sends in good faith, to a host that serves the gateway. After each, it serves as before."""

import collections
import json
import socket
import threading
import time
import urllib.error

from relay import DOMAIN

MIB = 1 << 20
# Octets of a body that the gateway reads.
MAX_BODY = 8 * MIB
# Seconds between the octets of a slow body, and how many of them are sent.
DRIP, DRIPS = 0.5, 300
SLOW = 24
AT_ONCE = 1000
# Resident octets that no load may pass.
MEMORY = 2_500 * MIB


def expect(what, found):
    if not found:
        raise AssertionError(what)


def serves(edge):
    status, _, answer = edge.ask("/healthz", key=None)
    expect(("it no longer serves", status, answer), (status, answer) == (200, {"status": "ok"}))


def email(subject, **more):
    return {"from": f"shop@{DOMAIN}", "to": "ada@reader.test", "subject": subject, "text": "Hello", **more}


def raw(edge, request, seconds=30):
    """The status that these octets are answered with; none if the connection is closed without."""
    with socket.create_connection(("127.0.0.1", edge.port), timeout=seconds) as connection:
        try:
            connection.sendall(request)
            first = connection.makefile("rb").readline()
        except (ConnectionError, TimeoutError):
            return None
        return int(first.split()[1]) if first else None


def post(fields, body=b"", path="/emails", authorization="Bearer rv_caller-of-the-edge"):
    lines = [f"POST {path} HTTP/1.1", "Connection: close", f"Content-Length: {len(body)}", f"Authorization: {authorization}", *fields]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def huge(edge, sink):
    """Beyond the limit, with its length and without."""
    for size in (MAX_BODY + 1, 40 * MIB):
        status = raw(edge, post(["Host: edge"], b" " * size), 120)
        # A host may close while the body still comes.
        expect((size, status), status in (413, None))
    chunk = f"{MIB:x}\r\n".encode() + b" " * MIB + b"\r\n"
    head = b"POST /emails HTTP/1.1\r\nHost: edge\r\nConnection: close\r\nAuthorization: Bearer rv_caller-of-the-edge\r\n"
    status = raw(edge, head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 20 + b"0\r\n\r\n", 120)
    expect(("chunked", status), status in (413, None))
    # A stranger's body is not read at all.
    status = raw(edge, post(["Host: edge"], b" " * (20 * MIB), authorization="Bearer rv_other"), 120)
    expect(("a stranger", status), status in (403, None))
    largest = json.dumps(email("edge-largest")).encode()
    status, _, answer = edge.ask("/emails", largest + b" " * (MAX_BODY - len(largest)))
    expect(("the largest", status, answer), status == 202)
    serves(edge)


def slow(edge, sink):
    """Bodies that come by the octet are ended by the gateway. Where the host can, others are served meanwhile."""
    statuses = []
    slow = SLOW if edge.host.is_concurrent else 1

    def drip():
        head = post(["Host: edge"]).replace(b"Content-Length: 0", b"Content-Length: 1000")
        with socket.create_connection(("127.0.0.1", edge.port)) as connection:
            connection.settimeout(DRIP)
            connection.sendall(head)
            answer = None
            try:
                for _ in range(DRIPS):
                    connection.sendall(b" ")
                    try:
                        answer = connection.recv(1 << 10)
                        break
                    except TimeoutError:
                        continue
            except ConnectionError:
                answer = b""
            statuses.append(answer and answer.split()[1])

    threads = [threading.Thread(target=drip) for _ in range(slow)]
    for thread in threads:
        thread.start()
    served = 0
    while edge.host.is_concurrent and len(statuses) < slow:
        serves(edge)
        status, _, answer = edge.ask("/emails", email(f"edge-beside-{served}"))
        expect((status, answer), status == 202)
        served += 1
        time.sleep(DRIP)
    for thread in threads:
        thread.join()
    # Closed without a word is as good.
    expect(statuses, set(statuses) <= {b"408", b""})
    expect("nobody was served beside slow bodies", served > 1 or not edge.host.is_concurrent)
    serves(edge)


def not_utf8(edge, field):
    """The status with which the host itself refuses a field that is not UTF-8, if it does."""
    return None if field.isascii() else edge.host.not_utf8


def tokens(edge, sink):
    for authorization in ("", "Bearer", "Bearer ", "Basic cnY6eA==", "Bearer " + "x" * 8000, "Bearer \xe9\xff", "bearer\trv_caller",
                          "Bearer rv_caller-of-the-edg", "Bearer rv_caller-of-the-edge\x00", "Bearer rv_caller-of-the-edge, Bearer x"):
        status = raw(edge, post(["Host: edge"], json.dumps(email("edge-token")).encode(), authorization=authorization))
        expect((authorization[:40], status), status in (400, 401, 403, 431, None, not_utf8(edge, authorization)))
    twice = post(["Host: edge", "Authorization: Bearer rv_other"], json.dumps(email("edge-token-twice")).encode(), authorization="Bearer x")
    expect("two keys", raw(edge, twice) in (400, 401, 403))
    serves(edge)
    expect("sent without a key", not any(b"edge-token" in message for _, _, message in sink.messages))


def injections(edge, sink):
    """CR and LF in values never begin a field."""
    evil = "x\r\nX-Evil: 1"
    for body in (
        email(evil), email("x\nX-Evil: 1"), email("x\rX-Evil: 1"),
        email("s", **{"from": f"{evil} <shop@{DOMAIN}>"}), email("s", to=f"{evil} <ada@reader.test>"),
        email("s", to="ada@reader.test\r\nX-Evil: 1"), email("s", reply_to=f"a@{DOMAIN}\r\nX-Evil: 1"),
        email("s", headers={"X-Order": evil}), email("s", headers={"X-Order: 1\r\nX-Evil": "1"}), email("s", headers={evil: "1"}),
        email("s", attachments=[{"filename": "a\r\nX-Evil: 1.txt", "content": "aGVsbG8="}]),
        email("s", attachments=[{"filename": "a.txt", "content": "aGVsbG8=", "content_type": "text/plain\r\nX-Evil: 1"}]),
        email("s", tags=[{"name": "kind", "value": evil}]),
        {"from": f"shop@{DOMAIN}", "subject": "{{ name }}", "text": "x",
         "recipients": [{"email": "ada@reader.test", "variables": {"name": evil}}]},
    ):
        status, _, answer = edge.ask("/emails", body)
        expect((body, status, answer), status in (202, 400, 422))
    body = json.dumps(email("edge-injected-key")).encode()
    for field in ("Idempotency-Key: a\rX-Relevo-Digest: b", "Idempotency-Key: a\x00b", "Idempotency-Key: \xe9", "Idempotency-Key: " + "k" * 257,
                  "X-Batch-Validation: permissive\x0b"):
        status = raw(edge, post(["Host: edge", field], body))
        expect((field[:40], status), status in (400, 422, 431, None, not_utf8(edge, field)))
    status, _, _ = edge.ask("/emails", email("edge-after-injections"))
    expect(status, status == 202)
    sink.wait(b"Subject: edge-after-injections\r\n")
    for _, _, message in sink.messages:
        head = message.partition(b"\r\n\r\n")[0]
        expect(head, not any(line.lower().startswith(b"x-evil") for line in head.replace(b"\r", b"\n").split(b"\n")))
        expect("an injected part field", b"\nX-Evil: 1" not in message)


def nested(edge, sink):
    deep = 200_000
    for body in (b"[" * deep, b'{"a":' * deep, b'{"from":' + b"[" * deep + b"]" * deep + b"}", b'"' + b"\\" * deep, b"\xff\xfe", b"",
                 b'{"from":"a@example.test","from":"b@example.test"}', b"1e999999", b'{"recipients":[' + b"{}," * 100_000 + b"{}]}"):
        for path in ("/emails", "/emails/batch"):
            status, _, answer = edge.ask(path, body)
            expect((path, body[:20], status, answer), status in (400, 422) and answer["message"] and len(json.dumps(answer)) < MIB)
    loops = email("x", recipients=[{"email": "a@reader.test", "variables": {"n": 1}}], to=None,
                  text="{% for a in range(99999) %}{% for b in range(99999) %}{{ b }}{% endfor %}{% endfor %}")
    del loops["to"]
    status, _, answer = edge.ask("/emails", loops)
    expect((status, answer), status in (400, 422))
    serves(edge)


def paths(edge, sink):
    for method, path, wanted in (
        ("GET", "/emails", (404, 405)), ("DELETE", "/emails", (404, 405)), ("PUT", "/emails/batch", (404, 405)), ("POST", "/healthz", (405,)),
        ("POST", "/relay", (404,)), ("GET", "/", (404,)), ("POST", "/emails/", (404,)), ("POST", "//emails", (404,)),
        ("POST", "/emails/../relay", (404,)), ("POST", "/emails%2fbatch", (404,)), ("GET", "/..%2f..%2fetc/passwd", (404,)),
        ("BREW", "/emails", (400, 404, 405, 501)), ("GET", "/" + "x" * 4000, (400, 404, 414, 431)), ("GET", "/api-keys", (404,)),
    ):
        try:
            status = edge.ask(path, b"{}" if method in ("POST", "PUT") else None, method=method)[0]
        except (urllib.error.URLError, ConnectionError):
            status = None
        expect((method, path[:40], status), status in wanted or (method == "BREW" and status is None))
    serves(edge)


def hosts(edge, sink):
    body = json.dumps(email("edge-host")).encode()
    answered = 0
    for field in (["Host: "], ["Host: evil.example\x00"], ["Host: a b"], ["Host: http://x/y"], ["Host: [::1"], ["Host: " + "x." * 2000],
                  ["Host: edge:99999"], ["Host: \xe9"], ["Host: a", "Host: b"], [], ["Host: 127.0.0.1:1", "X-Forwarded-Host: evil"]):
        status = raw(edge, post(field, body))
        # A host may refuse it before the gateway sees it. The gateway itself never looks.
        expect((field and field[0][:40], status), status is None or status == 202 or 400 <= status < 600)
        answered += status == 202
    expect("not even a usual Host was taken", answered > 0)
    # Not to where Host points, but to the core.
    sink.wait(b"Subject: edge-host\r\n")
    serves(edge)


def crowd(edge, sink):
    """Each is answered: taken, or told to come again."""
    before, _ = edge.host.memory()
    statuses, refused, most = [], [], [0]
    lock, done = threading.Lock(), threading.Event()

    def watch():
        while not done.wait(0.1):
            most[0] = max(most[0], edge.host.memory()[0])

    def one(number):
        for _ in range(20):
            try:
                status, _, answer = edge.ask("/emails", email(f"edge-crowd-{number}."), {"Idempotency-Key": f"crowd-{number}"})
                if status == edge.host.no_room and answer == b"":
                    status = 503
                if status not in (202, 429, 503) or (isinstance(answer, bytes) and answer):
                    status = f"{status}: {answer}"[:80]
                break
            except (urllib.error.URLError, ConnectionError) as error:
                # Hosts have a queue of some hundred connections. Nobody has read the request then.
                status = f"{type(error).__name__}: {error}"[:80]
                refused.append(number)
                time.sleep(0.5)
        with lock:
            statuses.append(status)

    watcher = threading.Thread(target=watch)
    watcher.start()
    began = time.monotonic()
    threads = [threading.Thread(target=one, args=(n,)) for n in range(AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - began
    done.set()
    watcher.join()
    counted = dict(collections.Counter(statuses))
    print(f"  {AT_ONCE} at once: {counted} in {took:.1f} s, {len(refused)} connections refused, {before / 1e6:.0f} MB before, at most {most[0] / 1e6:.0f} MB", flush=True)
    expect(len(statuses), len(statuses) == AT_ONCE)
    expect(counted, set(counted) <= {202, 429, 503} and counted.get(202, 0) > 0)
    expect(f"{most[0]} octets resident", most[0] < MEMORY)
    end = time.monotonic() + 120
    while time.monotonic() < end and len(crowd_arrived(sink)) < counted[202]:
        time.sleep(0.2)
    arrived = crowd_arrived(sink)
    expect((len(arrived), counted), len(arrived) == len(set(arrived)) >= counted[202])
    serves(edge)


def crowd_arrived(sink):
    fields = [line for _, _, message in list(sink.messages) for line in message.split(b"\r\n\r\n", 1)[0].split(b"\r\n")]
    return [line for line in fields if line.startswith(b"Subject: edge-crowd-")]


CHECKS = {
    "huge bodies": huge,
    "slow bodies": slow,
    "bad tokens": tokens,
    "injections of header fields": injections,
    "absurd JSON and templates": nested,
    "wrong methods and paths": paths,
    "absurd Host": hosts,
    "1,000 at once": crowd,
}
