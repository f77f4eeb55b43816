"""Mail hosts that do little but STARTTLS: `dane_hosts.py HOSTS.json`, a list of addresses with certificate and key."""

import json
import socket
import ssl
import sys
import threading


def answer(connection, context):
    with connection:
        connection.settimeout(30)
        lines, encrypted = connection.makefile("rb"), False
        connection.sendall(b"220 mx ESMTP\r\n")
        while line := lines.readline(2_000):
            verb = line[:4].upper()
            if verb == b"EHLO":
                offer = b"250-STARTTLS\r\n" if context and not encrypted else b""
                connection.sendall(b"250-mx\r\n" + offer + b"250 8BITMIME\r\n")
            elif verb == b"STAR" and context and not encrypted:
                connection.sendall(b"220 go on\r\n")
                connection, encrypted = context.wrap_socket(connection, server_side=True), True
                lines = connection.makefile("rb")
            elif verb == b"QUIT":
                connection.sendall(b"221 bye\r\n")
                return
            else:
                connection.sendall(b"250 ok\r\n")


def serve(host):
    context = None
    if host["tls"]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*host["tls"])
    listener = socket.create_server((host["address"], 25))

    def safely(connection):
        try:
            answer(connection, context)
        except OSError:
            pass

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=safely, args=(connection,), daemon=True).start()


threads = [threading.Thread(target=serve, args=(host,)) for host in json.load(open(sys.argv[1]))]
for thread in threads:
    thread.start()
