"""A client in the middle of a request while the proxy drains. Says what it sees."""
import sys

import h2.config
import h2.connection
import h2.events
import socket

sock = socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30)
peer = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
HEAD = [(":method", "POST"), (":scheme", "http"), (":path", "/echo"), (":authority", "t")]


def flush():
    sock.sendall(peer.data_to_send())


peer.initiate_connection()
peer.send_headers(1, HEAD)
flush()
events = []
while not any(isinstance(event, h2.events.SettingsAcknowledged) for event in events):
    events = peer.receive_data(sock.recv(65536))
    flush()
print("open", flush=True)
goaways = []
ended = False
while True:
    data = sock.recv(65536)
    if not data:
        break
    # The library would not let us write after a GOAWAY; the frames are few enough to read here.
    place = 0
    while place + 9 <= len(data):
        length = int.from_bytes(data[place:place + 3], "big")
        kind, flags = data[place + 3], data[place + 4]
        payload = data[place + 9:place + 9 + length]
        if kind == 7:
            goaways.append(int.from_bytes(payload[:4], "big"))
            if len(goaways) == 1:
                print("leaving", flush=True)
        if kind == 6 and not flags & 1:
            sock.sendall(b"\0\0\x08\x06\x01\0\0\0\0" + payload)
            # The end of the request comes after all that.
            sock.sendall(b"\0\0\x02\0\x01\0\0\0\x01hi")
        if kind == 1:
            print("answered 200" if payload[:1] == b"\x88" else f"answered {payload!r}", flush=True)
        place += 9 + length
print("over" if goaways == [0x7FFFFFFF, 1] else f"GOAWAY {goaways}", flush=True)
