"""`load.py client LOG STOP ADDRESS...`: sends until the file STOP is there, and writes down who was taken (250).
`load.py sink LOG CONNECTIONS`: takes everything, and writes down who it was for, and how many connections there were
at most at a time."""

import itertools
import json
import pathlib
import smtplib
import socket
import socketserver
import sys
import threading
import time

LOCK = threading.Lock()


def client(log, stop, addresses):
    with open(log, "a", buffering=1) as taken:
        session, nodes = None, itertools.cycle(addresses)
        for number in itertools.count():
            if pathlib.Path(stop).exists():
                return
            recipient = f"r{number}@d{number % 7}.test"
            text = f"From: a@example.com\r\nTo: {recipient}\r\nSubject: {number}\r\n\r\n" + f"hello {number}\r\n" * 50
            try:
                if session is None:
                    session = smtplib.SMTP(next(nodes), 2525, timeout=30)
                session.sendmail("a@example.com", [recipient], text)
                taken.write(json.dumps([time.time(), recipient]) + "\n")
            except (OSError, smtplib.SMTPException) as error:
                # Refused, or not known: the next node, with another message.
                print(f"{time.time():.1f} {error!r}"[:200], flush=True)
                session = None
                time.sleep(0.2)
            time.sleep(0.01)


class Take(socketserver.StreamRequestHandler):
    def setup(self):
        super().setup()
        with LOCK:
            self.server.open += 1
            if self.server.open > self.server.most:
                self.server.most = self.server.open
                self.server.connections.write(f"{self.server.most}\n")

    def finish(self):
        with LOCK:
            self.server.open -= 1
        super().finish()

    def handle(self):
        self.say("220 sink")
        recipients = []
        while line := self.rfile.readline():
            verb = line[:4].upper()
            if verb in (b"EHLO", b"HELO"):
                self.say("250 sink")
            elif verb == b"RCPT":
                recipients.append(line.split(b"<")[1].split(b">")[0].decode())
                self.say("250 ok")
            elif verb == b"DATA":
                self.say("354 go on")
                while self.rfile.readline() not in (b".\r\n", b""):
                    pass
                # Before the answer: what a client was not told of may be there twice.
                self.server.log.write(json.dumps([time.time(), recipients]) + "\n")
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


if __name__ == "__main__":
    socket.setdefaulttimeout(60)
    if sys.argv[1] == "client":
        client(sys.argv[2], sys.argv[3], sys.argv[4:])
    else:
        with Sink(("0.0.0.0", 25), Take) as sink:
            sink.log, sink.connections = open(sys.argv[2], "a", buffering=1), open(sys.argv[3], "a", buffering=1)
            sink.open = sink.most = 0
            sink.serve_forever()
