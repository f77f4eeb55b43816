"""SMTP smuggling: what looks like an end of data to some servers, at every port, by DATA and in chunks.

Behind each look-alike stands a second message with an envelope of its own. The next hop is a socket
that keeps the octets as they come: no server library decides there what a line is.
"""

import base64
import concurrent.futures
import itertools
import re
import socket
import ssl
import threading
import time

import clients
from relay import DOMAIN, PASSWORD, USER, Relay

MODES = ("refuse", "normalize")
ROWS = [f"smuggling: one message stays one (bare newlines: {mode})" for mode in MODES]

BEFORE = (b"\n", b"\r", b"\r\n", b"\r\r\n", b"\n\r", b"\n\n", b"\r\n\x00", b"\r\n ")
AFTER = (b"\n", b"\r", b"\r\n", b"\r\r\n", b"\n\r", b"\x00\r\n", b" \r\n")
ENDS = [before + b"." + after for before, after in itertools.product(BEFORE, AFTER) if (before, after) != (b"\r\n", b"\r\n")]
WAYS = ("DATA", "BDAT", "BDAT in two")
PORTS = ("submission", "submissions", "relay", "return")
RETURN = "return.example.test"
VICTIM = "victim@reader.test"
ANYWHERE = re.compile(rb"\r(?!\n)|(?<!\r)\n|\x00")


class Wire:
    """A next hop that offers nothing, takes everything, and keeps what came on each connection."""

    def __init__(self):
        self.connections = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append([])
            threading.Thread(target=self.serve, args=(connection, self.connections[-1]), daemon=True).start()

    def serve(self, connection, messages):
        """`messages`: pairs of recipients and the octets of a message, as they were sent."""
        with connection, connection.makefile("rb") as stream:
            connection.sendall(b"220 wire\r\n")
            recipients = []
            while line := stream.readline(2_000):
                if line.upper().startswith(b"DATA"):
                    connection.sendall(b"354 go on\r\n")
                    content = b""
                    while not content.endswith(b"\r\n.\r\n"):
                        octet = stream.read(1)
                        if not octet:
                            return
                        content += octet
                    messages.append((recipients, content[:-3]))
                    recipients = []
                elif line.upper().startswith(b"RCPT"):
                    recipients.append(line)
                connection.sendall(b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 ok\r\n")

    def all(self):
        return [message for messages in list(self.connections) for message in list(messages)]

    def stop(self):
        self.listener.close()


def run(table, binary, folder):
    for mode, row in zip(MODES, ROWS):
        table.run(row, lambda mode=mode: check(binary, folder / f"smuggling-{mode}", mode))


def check(binary, folder, mode):
    wire = Wire()
    relay = Relay(binary, folder, wire.port, places=f'[returns]\ndomains = ["{RETURN}"]',
                  smtp=f'bare_newlines = {{ submission = "{mode}", submissions = "{mode}", relay = "{mode}" }}')
    try:
        cases = list(itertools.product(PORTS, WAYS, range(len(ENDS))))
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            taken = dict(zip(cases, pool.map(lambda case: attempt(relay, *case), cases), strict=True))
        problems = judge(wire, taken)
        for (port, way), group in itertools.groupby(cases, lambda case: case[:2]):
            group = list(group)
            print(f"    {port:11} {way:11} {sum(taken[case] for case in group):2} of {len(group)} taken")
        print("\n".join(f"    {problem}" for problem in problems[:20]))
        assert not problems, f"{len(problems)} problems: {problems[0]}"
    finally:
        relay.stop()
        wire.stop()


def judge(wire, taken):
    """What was taken has arrived once, as nothing but lines, and nothing else has."""
    wanted = sum(taken.values())
    end = time.monotonic() + 60
    while len(wire.all()) < wanted and time.monotonic() < end:
        time.sleep(0.2)
    # What was smuggled would come now.
    time.sleep(2)
    problems, seen = [], {case: 0 for case in taken}
    for recipients, content in wire.all():
        mark = re.search(rb"^Subject: case-(\w+)-(\d)-(\d+)\r?$", content, re.M)
        if any(VICTIM.encode() in recipient for recipient in recipients) or not mark:
            problems.append(f"smuggled: {recipients} {content[:200]!r}")
            continue
        case = (mark[1].decode(), WAYS[int(mark[2])], int(mark[3]))
        seen[case] += 1
        if found := ANYWHERE.search(content):
            problems.append(f"{case[0]}, {case[1]}, {ENDS[case[2]]!r}: {found[0]!r} is passed on: {content[-160:]!r}")
    for case, times in seen.items():
        if times != taken[case]:
            problems.append(f"{case[0]}, {case[1]}, {ENDS[case[2]]!r}: taken {taken[case]} times, delivered {times} times")
    return problems


def attempt(relay, port, way, number):
    """Sends one message with what is to be smuggled in it: how many the relay says it has taken."""
    session = Session(relay, port)
    sender, recipient = ("bob@other.test", f"postmaster@{RETURN}") if port == "return" else (f"shop@{DOMAIN}", "ada@reader.test")
    content = (
        f"From: {sender}\r\nTo: {recipient}\r\nSubject: case-{port}-{WAYS.index(way)}-{number}\r\nDate: Sun, 22 Nov 2026 10:00:00 +0000\r\n"
        f"Message-ID: <{port}-{WAYS.index(way)}-{number}@{DOMAIN}>\r\n\r\nThe first."
    ).encode() + ENDS[number]
    smuggled = (
        f"MAIL FROM:<{sender}>\r\nRCPT TO:<{VICTIM}>\r\nDATA\r\nFrom: {sender}\r\nTo: {VICTIM}\r\nSubject: smuggled\r\n\r\nThe second.\r\n"
    ).encode()
    try:
        session.command(f"MAIL FROM:<{sender}>", "250")
        session.command(f"RCPT TO:<{recipient}>", "250")
        if way == "DATA":
            session.command("DATA", "354")
            session.send(content + smuggled + b".\r\n")
            return session.end(session.reply())
        # In two: the look-alike is the end of a chunk, and what is smuggled the next one.
        *parts, last = [content + smuggled] if way == "BDAT" else [content, smuggled]
        for part in parts:
            session.send(f"BDAT {len(part)}\r\n".encode() + part)
            reply = session.reply()
            if not reply.startswith("250"):
                return session.end(reply)
        session.send(f"BDAT {len(last)} LAST\r\n".encode() + last)
        return session.end(session.reply())
    finally:
        session.connection.close()


class Session:
    """Octets to a port and replies from it. Submission is with TLS and a password."""

    def __init__(self, relay, port):
        number = {"submission": relay.submission, "submissions": relay.submissions}.get(port, relay.relay)
        self.connection = socket.create_connection(("127.0.0.1", number), 60)
        if port == "submissions":
            self.encrypt()
        self.replies = self.connection.makefile("rb")
        self.reply()
        self.command("EHLO client.example.test", "250")
        if port == "submission":
            self.command("STARTTLS", "220")
            self.encrypt()
            self.replies = self.connection.makefile("rb")
            self.command("EHLO client.example.test", "250")
        if port in ("submission", "submissions"):
            secret = base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()).decode()
            self.command(f"AUTH PLAIN {secret}", "235")

    def encrypt(self):
        self.connection = clients.any_certificate().wrap_socket(self.connection)

    def send(self, octets):
        self.connection.sendall(octets)

    def reply(self):
        while line := self.replies.readline().decode():
            if line[3:4] != "-":
                return line
        return ""

    def command(self, line, wanted):
        self.send(line.encode() + b"\r\n")
        reply = self.reply()
        assert reply.startswith(wanted), f"{line.split()[0]}: {reply!r}"

    def end(self, reply):
        """Reads to the end, `reply` having been read: how many messages were taken."""
        taken = 0
        try:
            self.send(b"QUIT\r\n")
            while reply:
                # Not the replies to MAIL and RCPT, 2.1.0 and 2.1.5.
                taken += reply.startswith("250 2.0.0 ")
                reply = self.reply()
        except (OSError, ssl.SSLError):
            pass
        return taken
