"""Sessions that do little. `h2_frames.py PORT partial` begins a frame and never ends it; `... idle N` opens N sessions, each of which asks once.

Says "there" when it has done so, then a line for each session that has ended: the code of its GOAWAY, or "cut".
"""
import selectors
import socket
import sys

from hpack import Encoder
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, SettingsFrame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()
port, what = int(sys.argv[1]), sys.argv[2]


def frames(data):
    while len(data) >= 9:
        frame, length = Frame.parse_frame_header(memoryview(data[:9]))
        if len(data) < 9 + length:
            return
        frame.parse_body(memoryview(data[9:9 + length]))
        yield frame
        data = data[9 + length:]


def opened():
    sock = socket.create_connection(("127.0.0.1", port), timeout=60)
    sock.sendall(PREFACE)
    return sock


def ask(sock):
    head = HeadersFrame(1, flags=["END_HEADERS", "END_STREAM"])
    head.data = Encoder().encode([(":method", "GET"), (":scheme", "http"), (":path", "/name"), (":authority", "t")])
    sock.sendall(head.serialize())
    data = b""
    while not any("END_STREAM" in frame.flags for frame in frames(data)):
        more = sock.recv(65536)
        if not more:
            raise ConnectionError("ended without an answer")
        data += more


socks = []
wanted = 1 if what == "partial" else int(sys.argv[3])
for _ in range(3 * wanted):
    if len(socks) == wanted:
        break
    sock = opened()
    try:
        ask(sock)
    except ConnectionError:
        # On a machine that is slow now, a newcomer may be silent for as long as those that are let go.
        continue
    if what == "partial":
        # HEADERS of 100 bytes, of which 10 come.
        sock.sendall(b"\0\0\x64\x01\x05\0\0\0\x03" + b"\x82" * 10)
    socks.append(sock)
print("there", flush=True)
waiting = selectors.DefaultSelector()
for sock in socks:
    waiting.register(sock, selectors.EVENT_READ, bytearray())
while waiting.get_map():
    for key, _ in waiting.select(60):
        try:
            data = key.fileobj.recv(65536)
        except OSError:
            data = b""
        key.data.extend(data)
        if not data:
            codes = [frame.error_code for frame in frames(bytes(key.data)) if isinstance(frame, GoAwayFrame)]
            print(codes[-1] if codes else "cut", flush=True)
            waiting.unregister(key.fileobj)
