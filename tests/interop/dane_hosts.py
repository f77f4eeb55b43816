"""Mail hosts: `dane_hosts.py HOSTS.json MAIL.jsonl`.

HOSTS.json is a list of addresses, each with a file of chain and key, or none: no STARTTLS. The file
is read anew for each connection. A line of MAIL.jsonl is a message that was taken.
"""

import hashlib
import json
import pathlib
import re
import socket
import ssl
import sys
import threading

LOCK = threading.Lock()
MAIL = sys.argv[2]


class Session:
    def __init__(self, connection, host):
        self.connection, self.host, self.tls, self.certificate = connection, host, None, None
        self.recipients = []

    def say(self, text):
        self.connection.sendall(text.encode() + b"\r\n")

    def run(self):
        self.connection.settimeout(60)
        lines = self.connection.makefile("rb")
        self.say("220 mx ESMTP")
        while line := lines.readline(2_000):
            verb = line[:4].upper()
            if verb == b"EHLO":
                offer = "250-STARTTLS\r\n" if self.host["chain"] and not self.tls else ""
                self.say(f"250-mx\r\n{offer}250 8BITMIME")
            elif verb == b"STAR" and self.host["chain"] and not self.tls:
                self.say("220 go on")
                lines = self.encrypt()
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
            content += line
        subject = re.search(rb"^Subject: (.*?)\r\n", content, re.M)
        message = {"address": self.host["address"], "tls": self.tls, "certificate": self.certificate,
                   "subject": subject and subject[1].decode(), "recipients": self.recipients}
        self.recipients = []
        with LOCK, open(MAIL, "a") as mail:
            mail.write(json.dumps(message) + "\n")


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
