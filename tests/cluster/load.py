"""`load.py client FILES KEY ADDRESS...`: sends by SMTP and HTTP until the file `stop` is in FILES, and writes down who was
taken (250, 202), under which id, by which node. It keeps a few hundred messages waiting, and does not send many more.
`load.py sink FILES`: takes everything, and writes down who it was for, and each connection."""

import itertools
import json
import pathlib
import re
import smtplib
import socket
import socketserver
import sys
import threading
import time
import urllib.request

LOCK = threading.Lock()
# Sessions that send at once; one more sends to the provider with a rate, and one by HTTP.
SESSIONS = 8
# Messages that wait, of each site, beyond which little is sent.
WAITING = {"main": 150, "slow": 15}
# Then a session rests for so long after each message.
PAUSE = {"main": 0.5, "slow": 4}
# How long the receiver of a message takes.
TAKES = 0.25
# Ids of messages, in replies.
ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{26}")
# A node that sleeps answers when it wakes.
ANSWERS = 60


class Load:
    def __init__(self, files, key):
        self.files, self.key = pathlib.Path(files), key
        self.log = (self.files / "taken.jsonl").open("a", buffering=1)
        self.taken, self.delivered = {"main": 0, "slow": 0}, {"main": 0, "slow": 0}

    def follow(self):
        """Counts what the sink took."""
        while not (self.files / "sink.jsonl").exists():
            time.sleep(0.1)
        with (self.files / "sink.jsonl").open() as sink:
            while True:
                line = sink.readline()
                if line.endswith("\n"):
                    self.delivered[json.loads(line)[2]] += 1
                else:
                    time.sleep(0.2)

    def session(self, send, name, site, addresses):
        """Sends with `send` to one node after the other."""
        connection, nodes = None, itertools.cycle(addresses)
        for number in itertools.count():
            if (self.files / "stop").exists():
                return
            recipient = f"{name}-{number}@" + ("slow.test" if site == "slow" else f"d{number % 7}.test")
            text = f"From: a@example.com\r\nTo: {recipient}\r\nSubject: {recipient}\r\n\r\n"
            # Some are files of their own.
            text += f"hello {number}\r\n" * (12000 if number % 100 == 99 else 50)
            try:
                if connection is None:
                    node = next(nodes)
                connection, reply = send(connection, node, recipient, text)
                found = ID.search(reply)
                with LOCK:
                    self.taken[site] += 1
                    self.log.write(json.dumps([time.time(), recipient, found and found[0], node]) + "\n")
                if number % 20 == 19:
                    connection = None
            except (OSError, smtplib.SMTPException, ValueError) as error:
                # Refused, or not known: the next node, with another message.
                print(f"{time.time():.1f} {name} {node} {error!r}"[:200], flush=True)
                connection = None
                time.sleep(0.2)
            waits = self.taken[site] - self.delivered[site] > WAITING[site]
            time.sleep(PAUSE[site] if waits else 0.01)

    @staticmethod
    def by_smtp(connection, node, recipient, text):
        if connection is None:
            connection = smtplib.SMTP(node, 2525, timeout=ANSWERS)
            connection.ehlo("client.test")
        connection.mail("a@example.com")
        connection.rcpt(recipient)
        code, reply = connection.data(text)
        if code != 250:
            raise ValueError(f"{code} {reply}")
        return connection, reply.decode()

    def by_http(self, _, node, recipient, text):
        body = {"from": "a@example.com", "to": recipient, "subject": recipient, "text": text.partition("\r\n\r\n")[2]}
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://{node}:8025/emails", json.dumps(body).encode(), headers)
        with urllib.request.urlopen(request, timeout=ANSWERS) as answer:
            return None, answer.read().decode()

    def run(self, addresses):
        threading.Thread(target=self.follow, daemon=True).start()
        turned = [addresses[n % len(addresses):] + addresses[:n % len(addresses)] for n in range(SESSIONS)]
        sessions = [(self.by_smtp, f"s{n}", "main", turned[n]) for n in range(SESSIONS)]
        sessions += [(self.by_smtp, "slow", "slow", addresses), (self.by_http, "http", "main", addresses)]
        threads = [threading.Thread(target=self.session, args=session) for session in sessions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


class Take(socketserver.StreamRequestHandler):
    def setup(self):
        super().setup()
        self.note(1)

    def finish(self):
        self.note(-1)
        super().finish()

    def note(self, change):
        """The times are of one clock, in order."""
        with LOCK:
            self.server.connections.write(json.dumps([time.time(), self.client_address[0], self.server.site, change]) + "\n")

    def handle(self):
        self.say("220 sink")
        recipients, began = [], 0
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb in (b"EHLO", b"HELO"):
                self.say("250 sink")
            elif verb == b"MAIL":
                began = time.time()
                self.say("250 ok")
            elif verb == b"RCPT":
                recipients.append(line.split(b"<")[1].split(b">")[0].decode())
                self.say("250 ok")
            elif verb == b"DATA":
                self.say("354 go on")
                while (text := self.rfile.readline()) != b".\r\n":
                    if not text:
                        return
                time.sleep(TAKES)
                # Before the answer: what a client was not told of may be there twice.
                with LOCK:
                    entry = [time.time(), recipients, self.server.site, self.client_address[0], began]
                    self.server.log.write(json.dumps(entry) + "\n")
                recipients = []
                self.say("250 taken")
            elif verb == b"QUIT":
                return self.say("221 bye")
            else:
                self.say("250 ok")

    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")


class Sink(socketserver.ThreadingTCPServer):
    allow_reuse_address, daemon_threads, request_queue_size = True, True, 200

    def handle_error(self, request, address):
        pass


def sink(files, sites):
    files, servers = pathlib.Path(files), []
    log, connections = (files / "sink.jsonl").open("a", buffering=1), (files / "connections.jsonl").open("a", buffering=1)
    for site, address in sites:
        server = Sink((address, 25), Take)
        server.site, server.log, server.connections = site, log, connections
        servers.append(threading.Thread(target=server.serve_forever))
        servers[-1].start()
    for server in servers:
        server.join()


if __name__ == "__main__":
    socket.setdefaulttimeout(120)
    if sys.argv[1] == "client":
        Load(sys.argv[2], sys.argv[3]).run(sys.argv[4:])
    else:
        sink(sys.argv[2], [argument.split("=") for argument in sys.argv[3:]])
