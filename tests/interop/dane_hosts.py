"""Mail hosts that do little but STARTTLS: `dane_hosts.py HOSTS.json FOLDER`.

The list has an address for each host, its certificate and key, and whether it refuses all recipients. Messages
are kept in the folder, and `sessions` has a line with the address for each connection that said EHLO.
"""

import itertools
import json
import pathlib
import socket
import ssl
import sys
import threading


FOLDER, NUMBERS = pathlib.Path(sys.argv[2]), itertools.count()


def keep(host, lines):
    """What follows DATA."""
    octets = b""
    while (line := lines.readline(2_000)) not in (b".\r\n", b""):
        octets += line.removeprefix(b".")
    (FOLDER / f"{host['address']}-{next(NUMBERS)}.eml").write_bytes(octets)


def answer(connection, context, host):
    with connection:
        connection.settimeout(30)
        lines, encrypted, is_known = connection.makefile("rb"), False, False
        connection.sendall(b"220 mx ESMTP\r\n")
        while line := lines.readline(2_000):
            verb = line[:4].upper()
            if verb == b"EHLO":
                if not is_known:
                    is_known = True
                    with open(FOLDER / "sessions", "a") as sessions:
                        sessions.write(f"{host['address']}\n")
                offer = b"250-STARTTLS\r\n" if context and not encrypted else b""
                connection.sendall(b"250-mx\r\n" + offer + b"250 8BITMIME\r\n")
            elif verb == b"STAR" and context and not encrypted:
                connection.sendall(b"220 go on\r\n")
                connection, encrypted = context.wrap_socket(connection, server_side=True), True
                lines = connection.makefile("rb")
            elif verb == b"RCPT" and host.get("refuses"):
                connection.sendall(b"550 5.1.1 nobody\r\n")
            elif verb == b"DATA":
                connection.sendall(b"354 go on\r\n")
                keep(host, lines)
                connection.sendall(b"250 ok\r\n")
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
            answer(connection, context, host)
        except OSError:
            pass

    while True:
        connection, _ = listener.accept()
        threading.Thread(target=safely, args=(connection,), daemon=True).start()


threads = [threading.Thread(target=serve, args=(host,)) for host in json.load(open(sys.argv[1]))]
for thread in threads:
    thread.start()
