"""Opens a WebSocket at a path (RFC 6455) and says what comes back of the messages it sends.

Arguments: kubeconfig, path. Writes the answer's first line, what the pod says it was asked, and each echo's length and beginning.
"""
import base64
import hashlib
import os
import socket
import struct
import sys

import kubeconfig


def frame(kind, payload):
    mask = os.urandom(4)
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = b"\xfe" + struct.pack(">H", size)
    else:
        length = b"\xff" + struct.pack(">Q", size)
    return bytes([0x80 | kind]) + length + mask + bytes(b ^ mask[i & 3] for i, b in enumerate(payload))


class Reader:
    def __init__(self, line):
        self.line = line
        self.kept = b""

    def take(self, count):
        while len(self.kept) < count:
            part = self.line.recv(65536)
            if not part:
                raise SystemExit(f"the connection ended with {len(self.kept)} bytes of {count}")
            self.kept += part
        taken, self.kept = self.kept[:count], self.kept[count:]
        return taken

    def head(self):
        text = b""
        while not text.endswith(b"\r\n\r\n"):
            text += self.take(1)
        return text.decode().splitlines()

    def frame(self):
        first, second = self.take(2)
        size = second & 0x7F
        if size == 126:
            size, = struct.unpack(">H", self.take(2))
        elif size == 127:
            size, = struct.unpack(">Q", self.take(8))
        return first & 0x0F, self.take(size)


host, port, context = kubeconfig.load(sys.argv[1])
with context.wrap_socket(socket.create_connection((host, port), timeout=30), server_hostname=host) as line:
    key = base64.b64encode(os.urandom(16)).decode()
    line.sendall((
        f"GET {sys.argv[2]} HTTP/1.1\r\nHost: {host}\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n").encode())
    reader = Reader(line)
    head = reader.head()
    print(head[0])
    fields = {name.lower(): value for name, value in (text.split(": ", 1) for text in head[1:] if text)}
    wanted = hashlib.sha1((key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11").encode()).digest()
    if fields.get("sec-websocket-accept") != base64.b64encode(wanted).decode():
        raise SystemExit(f"not the answer to this key: {fields}")
    print(fields.get("x-asked"))
    for kind, payload in ((1, b"one"), (2, b"two" * 300), (2, b"three" * 40000)):
        line.sendall(frame(kind, payload))
        told = reader.frame()
        print(told[0], len(told[1]), told[1][:5].decode(), told[1] == payload)
    line.sendall(frame(8, struct.pack(">H", 1000)))
    print(*reader.frame()[:1], len(line.recv(16)))
