"""`ask.py HOST USER PASSWORD SUBJECT BODY`: one request to a NATS server; prints what is answered."""

import json
import socket
import sys

host, user, password, subject, body = sys.argv[1:6]
with socket.create_connection((host, 4222), timeout=5) as connection:
    lines = connection.makefile("rb")
    lines.readline()
    login = json.dumps({"user": user, "pass": password, "verbose": False, "pedantic": False})
    connection.sendall(f"CONNECT {login}\r\nSUB _INBOX.ask 1\r\nPUB {subject} _INBOX.ask {len(body)}\r\n{body}\r\n".encode())
    while line := lines.readline():
        if line.startswith(b"MSG"):
            print(lines.read(int(line.split()[-1])).decode())
            break
        if line.startswith(b"PING"):
            connection.sendall(b"PONG\r\n")
