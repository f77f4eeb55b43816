"""`names.py ADDRESS MAIN SLOW`: a DNS server. All domains have their MX at the address MAIN; `slow.test` at SLOW."""

import socketserver
import struct
import sys

A, MX = 1, 15


def name(labels):
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def answer(query, main, slow):
    labels, place = [], 12
    while query[place]:
        labels.append(query[place + 1:place + 1 + query[place]].lower())
        place += 1 + query[place]
    end = place + 5
    kind, = struct.unpack(">H", query[place + 1:place + 3])
    is_slow, records = b"slow" in labels, []
    if kind == MX:
        host = name([b"mx", b"slow" if is_slow else b"main", b"test"])
        records.append(struct.pack(">H", 10) + host)
    elif kind == A:
        records.append(bytes(int(octet) for octet in (slow if is_slow else main).split(".")))
    head = query[:2] + struct.pack(">HHHHH", 0x8180, 1, len(records), 0, 0)
    return head + query[12:end] + b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data for data in records)


class Names(socketserver.BaseRequestHandler):
    def handle(self):
        query, connection = self.request
        connection.sendto(answer(query, *sys.argv[2:4]), self.client_address)


if __name__ == "__main__":
    with socketserver.ThreadingUDPServer((sys.argv[1], 53), Names) as server:
        server.serve_forever()
