"""Mail hosts: `dane_hosts.py HOSTS.json FOLDER`.

HOSTS.json is a list of addresses, each with a file of chain and key, or none: no STARTTLS. The file
is read anew for each connection. A host may refuse all recipients. Messages that are taken are kept in
FOLDER, with a line in its `mail.jsonl` each; a line of `sessions.jsonl` is a connection that said EHLO.
"""

import hashlib
import itertools
import json
import pathlib
import re
import socket
import ssl
import sys
import threading

LOCK, NUMBERS = threading.Lock(), itertools.count()
FOLDER = pathlib.Path(sys.argv[2])


def tell(name, what):
    with LOCK, open(FOLDER / name, "a") as file:
        file.write(json.dumps(what) + "\n")


class Session:
    def __init__(self, connection, host):
        self.connection, self.host, self.tls, self.certificate = connection, host, None, None
        self.recipients, self.is_known = [], False

    def say(self, text):
        self.connection.sendall(text.encode() + b"\r\n")

    def run(self):
        self.connection.settimeout(60)
        lines = self.connection.makefile("rb")
        self.say("220 mx ESMTP")
        while line := lines.readline(2_000):
            verb = line[:4].upper()
            if verb == b"EHLO":
                if not self.is_known:
                    tell("sessions.jsonl", self.host["address"])
                self.is_known = True
                offer = "250-STARTTLS\r\n" if self.host["chain"] and not self.tls else ""
                self.say(f"250-mx\r\n{offer}250 8BITMIME")
            elif verb == b"STAR" and self.host["chain"] and not self.tls:
                self.say("220 go on")
                lines = self.encrypt()
            elif verb == b"RCPT" and self.host.get("refuses"):
                self.say("550 5.1.1 nobody")
            elif verb == b"RCPT":
                self.recipients.append(re.search(rb"<(.*?)>", line)[1].decode())
                self.say("250 ok")
            elif verb == b"DATA":
                self.say("354 go on")
                self.take(lines)
                self.say("250 taken")
            elif verb == b"QUIT":
                self.say("221 bye")
                return
            else:
                self.say("250 ok")

    def encrypt(self):
        chain = pathlib.Path(self.host["chain"]).read_bytes()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.host["chain"])
        self.connection = context.wrap_socket(self.connection, server_side=True)
        self.tls, self.certificate = self.connection.version(), hashlib.sha256(chain).hexdigest()[:8]
        return self.connection.makefile("rb")

    def take(self, lines):
        content = b""
        while (line := lines.readline()) != b".\r\n":
            if not line:
                raise OSError("the connection ended within a message")
            content += line.removeprefix(b".")
        subject = re.search(rb"^Subject: (.*?)\r\n", content, re.M)
        file = f"{self.host['address']}-{next(NUMBERS)}.eml"
        (FOLDER / file).write_bytes(content)
        message = {"address": self.host["address"], "tls": self.tls, "certificate": self.certificate,
                   "subject": subject and subject[1].decode(), "recipients": self.recipients, "file": file}
        self.recipients = []
        tell("mail.jsonl", message)


def serve(host):
    listener = socket.create_server((host["address"], 25), backlog=50)

    def safely(connection):
        session = Session(connection, host)
        try:
            session.run()
        except OSError:
            pass
        finally:
            session.connection.close()

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=safely, args=(connection,), daemon=True).start()


threads = [threading.Thread(target=serve, args=(host,)) for host in json.load(open(sys.argv[1]))]
for thread in threads:
    thread.start()
