"""Requests without a pause on several HTTP/2 connections, by a client that follows GOAWAY as RFC 9113 §6.8 asks: what the server still
serves is waited for, what it does not goes over a new connection.

`h2_load.py PORT CONNECTIONS STREAMS` says "going" after the first answers. At each line on its input it says how many requests were
served, moved to another connection, and how many connections there were; after "move PORT" new connections go there; at "stop" it opens no more, and when all have been answered
says so for the last time, failures first, a line each.
"""
import socket
import sys
import threading

from hpack import Decoder, Encoder
from hyperframe.frame import (
    DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame)

port, connections, streams = (int(word) for word in sys.argv[1:])
stopping = threading.Event()
lock = threading.Lock()
counts = {"served": 0, "moved": 0, "connections": 0}
failures = []
going = threading.Semaphore(0)


def count(what):
    with lock:
        counts[what] += 1
        return counts[what]


class Line:
    """One connection, until it has ended."""

    def __init__(self, owed):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=30)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.encoder, self.decoder = Encoder(), Decoder()
        self.next, self.last, self.owed = 1, None, owed
        self.open = {}
        self.pending = b""
        self.out = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()]
        count("connections")

    def ask(self):
        path = "/slow" if self.next % 40 == 1 else "/name"
        frame = HeadersFrame(self.next, flags=["END_HEADERS", "END_STREAM"])
        frame.data = self.encoder.encode([(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "t")])
        self.out.append(frame.serialize())
        self.open[self.next] = None
        self.next += 2

    def run(self):
        """Serves until the connection has ended; gives the number of requests another has to make."""
        moved = 0
        while True:
            while self.last is None and len(self.open) < streams and (self.owed > 0 or not stopping.is_set()):
                self.owed = max(0, self.owed - 1)
                self.ask()
            if not self.open and (self.last is not None or stopping.is_set()):
                self.sock.close()
                return moved
            if self.out:
                self.sock.sendall(b"".join(self.out))
                self.out = []
            data = self.sock.recv(65536)
            if not data:
                failures.extend(f"stream {stream} cut off" for stream in self.open)
                return moved
            self.pending += data
            for frame in self.frames():
                moved += self.take(frame)

    def frames(self):
        while len(self.pending) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self.pending[:9]))
            if len(self.pending) < 9 + length:
                return
            frame.parse_body(memoryview(self.pending[9:9 + length]))
            self.pending = self.pending[9 + length:]
            yield frame

    def take(self, frame):
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self.out.append(SettingsFrame(0, flags=["ACK"]).serialize())
        elif isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            self.out.append(PingFrame(0, frame.opaque_data, flags=["ACK"]).serialize())
        elif isinstance(frame, GoAwayFrame):
            if frame.error_code:
                failures.append(f"GOAWAY {frame.error_code}")
            self.last = frame.last_stream_id
            gone = [stream for stream in self.open if stream > self.last]
            for stream in gone:
                del self.open[stream]
                count("moved")
            return len(gone)
        elif isinstance(frame, HeadersFrame):
            status = dict(self.decoder.decode(frame.data)).get(":status")
            if status != "200":
                failures.append(f"status {status}")
        elif isinstance(frame, DataFrame) and frame.flow_controlled_length:
            self.out.append(WindowUpdateFrame(0, window_increment=frame.flow_controlled_length).serialize())
        elif isinstance(frame, RstStreamFrame) and frame.stream_id in self.open:
            del self.open[frame.stream_id]
            if frame.error_code == 7:
                count("moved")
                return 1
            failures.append(f"reset {frame.error_code}")
        if "END_STREAM" in frame.flags and frame.stream_id in self.open:
            del self.open[frame.stream_id]
            if count("served") == 100:
                going.release()
        return 0


def work():
    owed = 0
    while owed > 0 or not stopping.is_set():
        try:
            owed = Line(owed).run()
        except OSError as fault:
            failures.append(repr(fault))
            return


threads = [threading.Thread(target=work) for _ in range(connections)]
for thread in threads:
    thread.start()
going.acquire()
print("going", flush=True)
while (said := sys.stdin.readline().split()) != ["stop"]:
    if said[:1] == ["move"]:
        port = int(said[1])
    print(f"{counts['served']} {counts['moved']} {counts['connections']}", flush=True)
stopping.set()
for thread in threads:
    thread.join()
for failure in failures[:20]:
    print(failure, flush=True)
print(f"{counts['served']} {counts['moved']} {counts['connections']}", flush=True)
