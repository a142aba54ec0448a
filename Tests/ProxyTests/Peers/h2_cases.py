"""Frames by hand against a listening proxy: `h2_cases.py PORT CASE`. Ends with 0 when the proxy did what its RFC asks."""
import socket
import struct
import sys
import time

from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame, DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, PriorityFrame, PushPromiseFrame,
    RstStreamFrame, SettingsFrame, WindowUpdateFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
NO_ERROR, PROTOCOL, INTERNAL, FLOW, SETTINGS_TIMEOUT, CLOSED, SIZE, REFUSED, CANCEL, COMPRESSION, CONNECT, CALM = range(12)


class Gone(Exception):
    pass


class Peer:
    def __init__(self, port, settings=None, begin=True):
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.refuses = False
        if begin:
            self.raw(PREFACE)
            self.send(SettingsFrame(0, settings=settings or {}))

    def raw(self, data):
        try:
            self.sock.sendall(data)
        except OSError:
            self.refuses = True

    def send(self, *frames):
        self.raw(b"".join(frame.serialize() for frame in frames))

    def block(self, headers):
        return self.encoder.encode(headers)

    def request(self, stream, path="/name", method="GET", extra=(), ends=True, headers=None):
        if headers is None:
            headers = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "test")]
            headers += list(extra)
        flags = ["END_HEADERS"] + (["END_STREAM"] if ends else [])
        self.send(HeadersFrame(stream, self.block(headers), flags=flags))

    def frame(self):
        """The next frame; Gone at the end of the connection."""
        while True:
            if len(self.buffer) >= 9:
                frame, length = Frame.parse_frame_header(memoryview(self.buffer[:9]))
                if len(self.buffer) >= 9 + length:
                    frame.parse_body(memoryview(self.buffer[9:9 + length]))
                    self.buffer = self.buffer[9 + length:]
                    return frame
            try:
                data = self.sock.recv(65536)
            except ConnectionError:
                raise Gone() from None
            if not data:
                raise Gone()
            self.buffer += data

    def until(self, wanted):
        while True:
            frame = self.frame()
            if isinstance(frame, HeadersFrame):
                frame.fields = self.decoder.decode(frame.data)
            if wanted(frame):
                return frame

    def response(self, stream, window=True):
        """Status, fields, body and trailers of a stream's response."""
        fields, body, trailers = None, b"", []
        while True:
            frame = self.until(lambda frame: frame.stream_id == stream)
            if isinstance(frame, RstStreamFrame):
                raise AssertionError(f"stream {stream} was reset with {frame.error_code} after {fields}")
            if isinstance(frame, HeadersFrame):
                if fields is None or dict(fields)[":status"].startswith("1"):
                    fields = frame.fields
                else:
                    trailers = frame.fields
            if isinstance(frame, DataFrame):
                body += frame.data
                if window and frame.data:
                    self.send(WindowUpdateFrame(0, len(frame.data)), WindowUpdateFrame(stream, len(frame.data)))
            if "END_STREAM" in frame.flags:
                return dict(fields), body, trailers

    def goes_away(self, code):
        try:
            frame = self.until(lambda frame: isinstance(frame, GoAwayFrame))
        except Gone:
            raise AssertionError("the connection ended without a GOAWAY") from None
        assert frame.error_code == code, f"GOAWAY with {frame.error_code}, not {code}"
        try:
            self.until(lambda frame: False)
        except Gone:
            pass

    def resets(self, stream, code):
        frame = self.until(lambda frame: isinstance(frame, (RstStreamFrame, GoAwayFrame)))
        assert isinstance(frame, RstStreamFrame), f"GOAWAY with {frame.error_code}, not a reset"
        assert frame.stream_id == stream and frame.error_code == code, f"reset {frame.stream_id} {frame.error_code}"

    def works(self, stream=1001):
        self.request(stream)
        fields, body, _ = self.response(stream)
        assert fields[":status"] == "200", fields


CASES = {}


def case(function):
    CASES[function.__name__] = function
    return function


# Requests and responses.

@case
def get(port):
    peer = Peer(port)
    peer.request(1)
    fields, body, _ = peer.response(1)
    assert fields[":status"] == "200" and body == b"origin", (fields, body)


@case
def post_in_pieces(port):
    peer = Peer(port)
    peer.request(1, "/echo", "POST", ends=False)
    for piece in range(200):
        peer.send(DataFrame(1, b"%03d" % piece))
    peer.send(DataFrame(1, b"", flags=["END_STREAM"]))
    _, body, _ = peer.response(1)
    assert body == b"".join(b"%03d" % piece for piece in range(200))


@case
def padded(port):
    peer = Peer(port)
    block = peer.block([(":method", "POST"), (":scheme", "http"), (":path", "/echo"), (":authority", "t")])
    headers = HeadersFrame(1, block, pad_length=100, flags=["END_HEADERS", "PADDED", "PRIORITY"])
    headers.depends_on, headers.stream_weight, headers.exclusive = 0, 15, False
    data = DataFrame(1, b"hello", pad_length=200, flags=["PADDED", "END_STREAM"])
    peer.send(headers, data)
    assert peer.response(1)[1] == b"hello"
    peer.works()


@case
def continuation(port):
    peer = Peer(port)
    block = peer.block([(":method", "GET"), (":scheme", "http"), (":path", "/name"), (":authority", "t"), ("x-a", "b" * 500)])
    frames = [HeadersFrame(1, block[:10], flags=["END_STREAM"]), ContinuationFrame(1, block[10:50]),
              ContinuationFrame(1, block[50:], flags=["END_HEADERS"])]
    peer.send(*frames)
    assert peer.response(1)[1] == b"origin"


@case
def byte_by_byte(port):
    peer = Peer(port, begin=False)
    block = peer.block([(":method", "GET"), (":scheme", "http"), (":path", "/name"), (":authority", "t")])
    data = PREFACE + SettingsFrame(0).serialize() + HeadersFrame(1, block, flags=["END_HEADERS", "END_STREAM"]).serialize()
    for place in range(len(data)):
        peer.raw(data[place:place + 1])
        time.sleep(0.0005)
    assert peer.response(1)[1] == b"origin"


@case
def cookies(port):
    peer = Peer(port)
    peer.request(1, "/head", extra=[("cookie", "a=1"), ("x-b", "c"), ("cookie", "b=2")])
    assert peer.response(1)[0][":status"] == "200"


@case
def early_answer(port):
    """The answer does not wait for the request's body, which is then not wanted."""
    peer = Peer(port)
    peer.request(1, "/echo", "POST", extra=[("content-length", "1000000"), ("host", "other")], ends=False)
    fields, _, _ = peer.response(1)
    assert fields[":status"] == "400" and fields["x-weft-reason"].startswith("h2_"), fields
    peer.works()


# Flow control.

@case
def small_windows(port):
    """A reader that takes little gets no more than that, and others are not held up."""
    peer = Peer(port, {SettingsFrame.INITIAL_WINDOW_SIZE: 1000})
    body = bytes(range(256)) * 100
    peer.request(1, "/echo", "POST", extra=[("content-length", str(len(body)))], ends=False)
    for place in range(0, len(body), 10000):
        last = place + 10000 >= len(body)
        peer.send(DataFrame(1, body[place:place + 10000], flags=["END_STREAM"] if last else []))
    got = b""
    while len(got) < 1000:
        got += peer.until(lambda frame: isinstance(frame, DataFrame)).data
    assert len(got) == 1000, len(got)
    peer.request(3)
    peer.until(lambda frame: frame.stream_id == 3 and isinstance(frame, HeadersFrame))
    while len(got) < len(body):
        peer.send(WindowUpdateFrame(1, 777))
        want = min(len(body), len(got) + 777)
        while len(got) < want:
            frame = peer.until(lambda frame: isinstance(frame, DataFrame) and frame.stream_id == 1)
            got += frame.data
        assert len(got) == want, (len(got), want)
    assert got == body


@case
def window_by_settings(port):
    """A later initial window moves the windows of open streams, below zero too (RFC 9113 §6.9.2)."""
    peer = Peer(port, {SettingsFrame.INITIAL_WINDOW_SIZE: 100})
    peer.request(1, "/echo", "POST", ends=False)
    peer.send(DataFrame(1, b"x" * 1000, flags=["END_STREAM"]))
    got = 0
    while got < 100:
        got += len(peer.until(lambda frame: isinstance(frame, DataFrame)).data)
    peer.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 50}))
    peer.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 300}))
    while got < 300:
        got += len(peer.until(lambda frame: isinstance(frame, DataFrame)).data)
    assert got == 300, got
    peer.send(WindowUpdateFrame(1, 10000))
    while got < 1000:
        got += len(peer.until(lambda frame: isinstance(frame, DataFrame)).data)


@case
def beyond_window(port):
    peer = Peer(port)
    peer.request(1, "/slow-body", "POST", extra=[("content-length", "99999999")], ends=False)
    for _ in range(200):
        peer.send(DataFrame(1, bytes(16000)))
    frame = peer.until(lambda frame: isinstance(frame, (RstStreamFrame, GoAwayFrame)))
    assert frame.error_code == FLOW, frame


# Faults of the connection.

@case
def bad_preface(port):
    peer = Peer(port, begin=False)
    peer.raw(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + SettingsFrame(0).serialize())
    peer.goes_away(PROTOCOL)


@case
def no_settings(port):
    peer = Peer(port, begin=False)
    peer.raw(PREFACE)
    peer.request(1)
    peer.goes_away(PROTOCOL)


def raw_frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def faulty(name, code, *frames):
    def run(port):
        peer = Peer(port)
        peer.raw(b"".join(frames))
        peer.goes_away(code)
    CASES[name] = run


faulty("frame_too_large", SIZE, raw_frame(0, 0, 1, bytes(16385)))
faulty("settings_size", SIZE, raw_frame(4, 0, 0, bytes(5)))
faulty("settings_ack_size", SIZE, raw_frame(4, 1, 0, bytes(6)))
faulty("settings_stream", PROTOCOL, raw_frame(4, 0, 1, b""))
faulty("settings_push", PROTOCOL, raw_frame(4, 0, 0, struct.pack(">HI", 2, 2)))
faulty("settings_frame_size", PROTOCOL, raw_frame(4, 0, 0, struct.pack(">HI", 5, 100)))
faulty("settings_window", FLOW, raw_frame(4, 0, 0, struct.pack(">HI", 4, 1 << 31)))
faulty("ping_size", SIZE, raw_frame(6, 0, 0, bytes(7)))
faulty("ping_stream", PROTOCOL, raw_frame(6, 0, 1, bytes(8)))
faulty("goaway_stream", PROTOCOL, raw_frame(7, 0, 1, bytes(8)))
faulty("window_zero", PROTOCOL, raw_frame(8, 0, 0, bytes(4)))
faulty("window_size", SIZE, raw_frame(8, 0, 0, bytes(3)))
faulty("window_overflow", FLOW, raw_frame(8, 0, 0, struct.pack(">I", 0x7FFFFFFF)))
faulty("window_idle_stream", PROTOCOL, raw_frame(8, 0, 5, struct.pack(">I", 1)))
faulty("reset_idle_stream", PROTOCOL, raw_frame(3, 0, 5, struct.pack(">I", 8)))
faulty("reset_stream_zero", PROTOCOL, raw_frame(3, 0, 0, struct.pack(">I", 8)))
faulty("reset_size", SIZE, raw_frame(3, 0, 1, bytes(3)))
faulty("data_stream_zero", PROTOCOL, raw_frame(0, 0, 0, b"x"))
faulty("data_idle_stream", PROTOCOL, raw_frame(0, 0, 1, b"x"))
faulty("headers_stream_zero", PROTOCOL, raw_frame(1, 5, 0, b"\x82"))
faulty("headers_even_stream", PROTOCOL, raw_frame(1, 5, 2, b"\x82\x86\x84\x41\x01t"))
faulty("priority_size", SIZE, raw_frame(2, 0, 1, bytes(4)))
faulty("push_promise", PROTOCOL, raw_frame(5, 4, 1, bytes(4) + b"\x82"))
faulty("lone_continuation", PROTOCOL, raw_frame(9, 4, 1, b"\x82"))
faulty("interrupted_block", PROTOCOL, raw_frame(1, 1, 1, b"\x82"), raw_frame(6, 0, 0, bytes(8)))
faulty("foreign_continuation", PROTOCOL, raw_frame(1, 1, 1, b"\x82"), raw_frame(9, 4, 3, b"\x86"))
faulty("bad_block", COMPRESSION, raw_frame(1, 5, 1, b"\xff\xff\xff\xff\xff\xff"))
faulty("bad_index", COMPRESSION, raw_frame(1, 5, 1, b"\xfe"))
faulty("too_much_padding", PROTOCOL, raw_frame(1, 13, 1, b"\x20\x82"))


@case
def stream_goes_back(port):
    peer = Peer(port)
    peer.works(5)
    peer.send(RstStreamFrame(3, error_code=CANCEL))
    peer.works(7)


def late(name, code, what, *frames):
    """Frames of a stream the client has ended: they break the connection (RFC 9113 §5.1)."""
    def run(port):
        peer = Peer(port)
        if what == "ended":
            peer.works(1)
        else:
            peer.request(1, "/echo", "POST", ends=False)
            peer.send(RstStreamFrame(1, error_code=CANCEL))
        peer.raw(b"".join(frames))
        peer.goes_away(code)
    CASES[name] = run


BLOCK = b"\x82\x86\x84\x41\x01t"
late("data_after_end", CLOSED, "ended", raw_frame(0, 1, 1, b"x"))
late("headers_after_end", CLOSED, "ended", raw_frame(1, 5, 1, BLOCK))
late("data_after_reset", CLOSED, "reset", raw_frame(0, 1, 1, b"x"))
late("headers_after_reset", CLOSED, "reset", raw_frame(1, 5, 1, BLOCK))


@case
def stream_below(port):
    """A number below one used before was never free to open."""
    peer = Peer(port)
    peer.works(5)
    peer.raw(raw_frame(1, 5, 3, BLOCK))
    peer.goes_away(PROTOCOL)


@case
def late_frames(port):
    """What comes for a stream the proxy has reset was on its way: it means nothing, even for many of them."""
    peer = Peer(port)
    for place in range(90):
        stream = 1 + 2 * place
        peer.request(stream, method="POST", ends=False, headers=BASE + [("connection", "close")])
    for place in range(90):
        stream = 1 + 2 * place
        peer.send(DataFrame(stream, b"late"), HeadersFrame(stream, peer.block([("x-late", "1")]), flags=["END_HEADERS", "END_STREAM"]))
    peer.works(1001)


# Faults of a stream.

def malformed(name, headers, status="400"):
    def run(port):
        peer = Peer(port)
        peer.request(1, headers=headers)
        frame = peer.until(lambda frame: frame.stream_id == 1)
        if isinstance(frame, HeadersFrame):
            fields = dict(frame.fields)
            assert fields[":status"] == status, fields
            assert "x-weft-reason" in fields, fields
            peer.until(lambda frame: isinstance(frame, (RstStreamFrame, DataFrame)))
        else:
            assert isinstance(frame, RstStreamFrame) and frame.error_code == PROTOCOL, frame
        peer.works()
    CASES[name] = run


BASE = [(":method", "GET"), (":scheme", "http"), (":path", "/name"), (":authority", "t")]
malformed("upper_case_name", BASE + [("X-Upper", "1")])
malformed("name_with_space", BASE + [("x y", "1")])
malformed("name_with_colon", BASE + [("x:y", "1")])
malformed("empty_name", BASE + [("", "1")])
malformed("value_line_feed", BASE + [("x", "a\nb: c")])
malformed("value_return", BASE + [("x", "a\rb")])
malformed("value_nul", BASE + [("x", "a\0b")])
malformed("value_space_before", BASE + [("x", " a")])
malformed("value_space_after", BASE + [("x", "a ")])
malformed("connection", BASE + [("connection", "close")])
malformed("keep_alive", BASE + [("keep-alive", "1")])
malformed("proxy_connection", BASE + [("proxy-connection", "close")])
malformed("transfer_encoding", BASE + [("transfer-encoding", "chunked")])
malformed("upgrade", BASE + [("upgrade", "h2c")])
malformed("te", BASE + [("te", "gzip")])
malformed("no_method", BASE[1:])
malformed("no_scheme", BASE[:1] + BASE[2:])
malformed("no_path", BASE[:2] + BASE[3:])
malformed("empty_path", BASE[:2] + [(":path", "")] + BASE[3:])
malformed("relative_path", BASE[:2] + [(":path", "name")] + BASE[3:])
malformed("absolute_path", BASE[:2] + [(":path", "http://t/name")] + BASE[3:])
malformed("path_with_space", BASE[:2] + [(":path", "/a HTTP/1.1\r\nx: y")] + BASE[3:])
malformed("method_with_space", [(":method", "GET /x")] + BASE[1:])
malformed("repeated_method", BASE[:1] + BASE)
malformed("unknown_pseudo", BASE + [(":extra", "1")])
malformed("status_in_request", BASE + [(":status", "200")])
malformed("pseudo_after_field", BASE[:3] + [("x", "1"), (":authority", "t")])
malformed("host_disagrees", BASE + [("host", "other")])
malformed("no_authority", BASE[:3])
malformed("user_in_authority", BASE[:3] + [(":authority", "a@t")])
malformed("two_lengths", BASE + [("content-length", "0"), ("content-length", "1")])
malformed("bad_length", BASE + [("content-length", "1x")])
malformed("length_without_body", BASE + [("content-length", "5")])
malformed("unknown_protocol", [(":method", "CONNECT")] + BASE[1:] + [(":protocol", "other")])
malformed("connect_with_path", [(":method", "CONNECT")] + BASE[1:])
malformed("too_large", BASE + [("x", "y" * 4000)] * 20, "431")


def spoiled(name, frames, code=PROTOCOL):
    def run(port):
        peer = Peer(port)
        peer.request(1, "/echo", "POST", extra=[("content-length", "5")], ends=False)
        peer.send(*frames(peer))
        peer.resets(1, code)
        peer.works()
    CASES[name] = run


spoiled("body_too_long", lambda peer: [DataFrame(1, b"123456", flags=["END_STREAM"])])
spoiled("body_too_short", lambda peer: [DataFrame(1, b"1234", flags=["END_STREAM"])])
spoiled("trailers_without_end", lambda peer: [HeadersFrame(1, peer.block([("x", "y")]), flags=["END_HEADERS"])])
spoiled("pseudo_in_trailers", lambda peer: [
    DataFrame(1, b"12345"), HeadersFrame(1, peer.block([(":path", "/")]), flags=["END_HEADERS", "END_STREAM"])])
spoiled("window_zero_on_stream", lambda peer: [WindowUpdateFrame(1, 1), raw(8, 1, bytes(4))])
spoiled("window_overflow_on_stream", lambda peer: [WindowUpdateFrame(1, 0x7FFFFFFF)], FLOW)


def raw(kind, stream, payload):
    class Raw:
        def serialize(self):
            return raw_frame(kind, 0, stream, payload)
    return Raw()


@case
def unknown_frames(port):
    peer = Peer(port)
    peer.raw(raw_frame(0xEE, 0xFF, 0, b"anything") + raw_frame(0xEF, 0, 77, b""))
    peer.raw(raw_frame(4, 0, 0, struct.pack(">HI", 0xAAAA, 5)))
    peer.works()


@case
def priorities(port):
    """Priorities, even of a stream on itself, change nothing."""
    peer = Peer(port)
    peer.raw(raw_frame(2, 0, 9, struct.pack(">IB", 9, 15)) + raw_frame(2, 0, 9, struct.pack(">IB", 1 << 31, 255)))
    peer.works()


@case
def ping(port):
    peer = Peer(port)
    peer.send(PingFrame(0, b"12345678"))
    frame = peer.until(lambda frame: isinstance(frame, PingFrame))
    assert frame.opaque_data == b"12345678" and "ACK" in frame.flags


@case
def too_many_streams(port):
    peer = Peer(port)
    for place in range(101):
        peer.request(1 + 2 * place, "/slow")
    refused = peer.until(lambda frame: isinstance(frame, RstStreamFrame))
    assert refused.stream_id == 201 and refused.error_code == REFUSED, refused


# Floods.

def flood(name, make, count, code=CALM):
    def run(port):
        peer = Peer(port)
        for place in range(count):
            peer.raw(make(peer, place))
            if peer.refuses:
                break
        peer.goes_away(code)
        Peer(port).works()
    CASES[name] = run


def begin_and_reset(peer, place):
    stream = 1 + 2 * place
    block = peer.block(BASE)
    return (HeadersFrame(stream, block, flags=["END_HEADERS", "END_STREAM"]).serialize()
            + RstStreamFrame(stream, error_code=CANCEL).serialize())


def empty_data(peer, place):
    if place == 0:
        peer.request(1, "/echo", "POST", ends=False)
    return DataFrame(1, b"").serialize()


def endless_block(peer, place):
    if place == 0:
        return HeadersFrame(1, peer.block(BASE)).serialize()
    return ContinuationFrame(1, b"").serialize()


def long_block(peer, place):
    if place == 0:
        return HeadersFrame(1, peer.block(BASE)).serialize()
    return ContinuationFrame(1, bytes(16000)).serialize()


flood("rapid_reset", begin_and_reset, 1000)
flood("settings_flood", lambda peer, place: SettingsFrame(0, settings={3: place}).serialize(), 500)
flood("ping_flood", lambda peer, place: PingFrame(0, b"%08d" % place).serialize(), 2000)
flood("empty_data_flood", empty_data, 1000)
flood("continuation_flood", endless_block, 1000)
flood("long_header_block", long_block, 8)
flood("priority_flood", lambda peer, place: raw_frame(2, 0, 1, bytes(5)) * 100, 600)


# Tunnels: apart, since they need routes of their own.

def connect(port):
    """CONNECT reaches the origin, which is asked in HTTP/1.1 through the tunnel (RFC 9113 §8.5)."""
    peer = Peer(port)
    peer.request(1, headers=[(":method", "CONNECT"), (":authority", "origin:80")], ends=False)
    fields = dict(peer.until(lambda frame: frame.stream_id == 1).fields)
    assert fields == {":status": "200"}, fields
    peer.send(DataFrame(1, b"GET /name HTTP/1.1\r\nhost: t\r\n\r\n"))
    got = b""
    while not got.endswith(b"origin"):
        got += peer.until(lambda frame: isinstance(frame, DataFrame)).data
    assert got.startswith(b"HTTP/1.1 200 OK\r\n"), got
    peer.send(DataFrame(1, b"", flags=["END_STREAM"]))
    peer.until(lambda frame: "END_STREAM" in frame.flags and frame.stream_id == 1)


def websocket(port):
    """A WebSocket opened on a stream (RFC 8441) reaches an app of HTTP/1.1."""
    peer = Peer(port)
    settings = peer.until(lambda frame: isinstance(frame, SettingsFrame) and "ACK" not in frame.flags).settings
    assert settings[8] == 1, settings
    peer.request(1, headers=[
        (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/chat"), (":authority", "t"),
        ("sec-websocket-version", "13")], ends=False)
    frame = peer.until(lambda frame: frame.stream_id == 1)
    fields = dict(frame.fields)
    assert fields[":status"] == "200" and "sec-websocket-accept" not in fields, fields
    peer.send(DataFrame(1, b"\x81\x85\0\0\0\0hello"))
    got = b""
    while len(got) < 7:
        got += peer.until(lambda frame: isinstance(frame, DataFrame)).data
    assert got == b"\x81\x05hello", got


def main():
    port, name = int(sys.argv[1]), sys.argv[2]
    if name == "list":
        print("\n".join(CASES))
        return
    names = list(CASES) if name == "all" else [name]
    CASES.update(connect=connect, websocket=websocket)
    failed = []
    for name in names:
        try:
            CASES[name](port)
        except Exception as fault:  # every case is to be run, and named
            failed.append(f"{name}: {fault!r}")
    print("\n".join(failed))
    sys.exit(1 if failed else 0)


main()
