"""Requests in HTTP/2 that are none, or would be more than one in HTTP/1.1: what the origin sees of each is nothing, or one clean message.

Run by the unit tests, and by `make corpora` as one more suite. Frames are made by hyperframe, so that they can be wrong.
"""

import argparse
import socket
import sys

import hpack
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame

from lane import GivenLane, Lane

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
GOOD = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "origin")]
POST = [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "origin")]
REFUSED, SERVED = "refused", "served"


def without(name, fields=GOOD):
    return [field for field in fields if field[0] != name]


def replaced(name, value, fields=GOOD):
    return [(key, value if key == name else old) for key, old in fields]


# id -> (fields, data pieces or None for END_STREAM on the head, trailers or None, what must come of it)
CASES = {
    "plain": (GOOD, None, None, SERVED),
    "te-trailers": (GOOD + [("te", "trailers")], None, None, SERVED),
    "host-alone": (without(":authority") + [("host", "origin")], None, None, SERVED),
    "host-agrees": (GOOD + [("host", "origin")], None, None, SERVED),
    "length-agrees": (POST + [("content-length", "5")], [b"hello"], None, SERVED),
    "length-none": (POST, [b"hel", b"lo"], None, SERVED),
    "trailers": (POST, [b"hello"], [("x-sum", "1")], SERVED),
    "cookies": (GOOD + [("cookie", "a=1"), ("cookie", "b=2")], None, None, SERVED),
    # Names and values (RFC 9113 §8.2.1).
    "name-upper-case": (GOOD + [("X-Upper", "1")], None, None, REFUSED),
    "name-empty": (GOOD + [("", "1")], None, None, REFUSED),
    "name-space": (GOOD + [("x y", "1")], None, None, REFUSED),
    "name-colon": (GOOD + [("x:y", "1")], None, None, REFUSED),
    "name-crlf": (GOOD + [("x: 1\r\ny", "1")], None, None, REFUSED),
    "name-lf": (GOOD + [("x\ny", "1")], None, None, REFUSED),
    "name-nul": (GOOD + [("x\0", "1")], None, None, REFUSED),
    "name-high": (GOOD + [(b"x\xff", b"1")], None, None, REFUSED),
    "name-delimiter": (GOOD + [("x[y]", "1")], None, None, REFUSED),
    "value-crlf": (GOOD + [("x", "1\r\ny: 2")], None, None, REFUSED),
    "value-request": (GOOD + [("x", "1\r\n\r\nGET /evil HTTP/1.1\r\nhost: a\r\n\r\n")], None, None, REFUSED),
    "value-lf": (GOOD + [("x", "1\ny: 2")], None, None, REFUSED),
    "value-cr": (GOOD + [("x", "1\r2")], None, None, REFUSED),
    "value-nul": (GOOD + [("x", "1\0")], None, None, REFUSED),
    "value-leading-space": (GOOD + [("x", " 1")], None, None, REFUSED),
    "value-trailing-tab": (GOOD + [("x", "1\t")], None, None, REFUSED),
    # Pseudo-fields (§8.3).
    "pseudo-after-field": (GOOD[:3] + [("x", "1")] + GOOD[3:], None, None, REFUSED),
    "pseudo-unknown": (GOOD + [(":other", "1")], None, None, REFUSED),
    "pseudo-status": (GOOD + [(":status", "200")], None, None, REFUSED),
    "pseudo-protocol": (GOOD + [(":protocol", "websocket")], None, None, REFUSED),
    "method-twice": (GOOD[:1] + GOOD, None, None, REFUSED),
    "path-twice": (GOOD[:3] + [(":path", "/evil")] + GOOD[3:], None, None, REFUSED),
    "scheme-twice": (GOOD[:2] + [(":scheme", "https")] + GOOD[2:], None, None, REFUSED),
    "authority-twice": (GOOD + [(":authority", "evil")], None, None, REFUSED),
    "method-missing": (without(":method"), None, None, REFUSED),
    "scheme-missing": (without(":scheme"), None, None, REFUSED),
    "path-missing": (without(":path"), None, None, REFUSED),
    "authority-missing": (without(":authority"), None, None, REFUSED),
    "method-empty": (replaced(":method", ""), None, None, REFUSED),
    "method-space": (replaced(":method", "GET /evil HTTP/1.1"), None, None, REFUSED),
    "method-crlf": (replaced(":method", "GET / HTTP/1.1\r\nx: y\r\n\r\nGET"), None, None, REFUSED),
    "path-empty": (replaced(":path", ""), None, None, REFUSED),
    "path-space": (replaced(":path", "/a b"), None, None, REFUSED),
    "path-version": (replaced(":path", "/ HTTP/1.1\r\nx: y\r\n\r\nGET /evil"), None, None, REFUSED),
    "path-relative": (replaced(":path", "a"), None, None, REFUSED),
    "path-absolute": (replaced(":path", "http://evil/"), None, None, REFUSED),
    "path-asterisk": (replaced(":path", "*"), None, None, REFUSED),
    "path-nul": (replaced(":path", "/\0"), None, None, REFUSED),
    "path-high": ([(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/\xc3\xa9"), (b":authority", b"o")], None, None, REFUSED),
    "scheme-bad": (replaced(":scheme", "ht tp"), None, None, REFUSED),
    "scheme-crlf": (replaced(":scheme", "http\r\nx: y"), None, None, REFUSED),
    "authority-empty": (replaced(":authority", ""), None, None, REFUSED),
    "authority-crlf": (replaced(":authority", "a\r\nx: y"), None, None, REFUSED),
    "authority-space": (replaced(":authority", "a b"), None, None, REFUSED),
    "authority-user": (replaced(":authority", "user@origin"), None, None, REFUSED),
    "authority-path": (replaced(":authority", "origin/evil"), None, None, REFUSED),
    "authority-list": (replaced(":authority", "origin, evil"), None, None, REFUSED),
    "host-differs": (GOOD + [("host", "evil")], None, None, REFUSED),
    "host-twice": (GOOD + [("host", "origin"), ("host", "origin")], None, None, REFUSED),
    "connect-with-path": (replaced(":method", "CONNECT"), None, None, REFUSED),
    # Fields of one connection (§8.2.2).
    "connection": (GOOD + [("connection", "close")], None, None, REFUSED),
    "connection-names": (GOOD + [("connection", "x"), ("x", "1")], None, None, REFUSED),
    "keep-alive": (GOOD + [("keep-alive", "5")], None, None, REFUSED),
    "proxy-connection": (GOOD + [("proxy-connection", "close")], None, None, REFUSED),
    "upgrade": (GOOD + [("upgrade", "websocket")], None, None, REFUSED),
    "transfer-encoding": (POST + [("transfer-encoding", "chunked")], [b"0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n"], None, REFUSED),
    "transfer-encoding-odd": (POST + [("transfer-encoding", "xchunked")], [b"hello"], None, REFUSED),
    "te-gzip": (GOOD + [("te", "gzip")], None, None, REFUSED),
    "te-list": (GOOD + [("te", "trailers, gzip")], None, None, REFUSED),
    # Lengths (§8.1.1).
    "length-more": (POST + [("content-length", "10")], [b"hello"], None, REFUSED),
    "length-less": (POST + [("content-length", "3")], [b"helloGET /evil HTTP/1.1\r\n\r\n"], None, REFUSED),
    "length-without-data": (POST + [("content-length", "5")], None, None, REFUSED),
    "length-zero-with-data": (POST + [("content-length", "0")], [b"GET /evil HTTP/1.1\r\nhost: a\r\n\r\n"], None, REFUSED),
    "length-twice": (POST + [("content-length", "5"), ("content-length", "5")], [b"hello"], None, REFUSED),
    "length-differs": (POST + [("content-length", "5"), ("content-length", "6")], [b"hello"], None, REFUSED),
    "length-list": (POST + [("content-length", "5, 5")], [b"hello"], None, REFUSED),
    "length-sign": (POST + [("content-length", "+5")], [b"hello"], None, REFUSED),
    "length-hexadecimal": (POST + [("content-length", "0x5")], [b"hello"], None, REFUSED),
    "length-empty": (POST + [("content-length", "")], [b"hello"], None, REFUSED),
    "length-trailers": (POST + [("content-length", "9")], [b"hello"], [("x-sum", "1")], REFUSED),
    # Names that gateways behind read as framing.
    "name-underscore": (POST + [("transfer_encoding", "chunked")], [b"0\r\n\r\n"], None, REFUSED),
    # Trailers (§8.1).
    "trailers-pseudo": (POST, [b"hello"], [(":path", "/evil")], REFUSED),
    "trailers-connection": (POST, [b"hello"], [("connection", "close")], REFUSED),
    "trailers-crlf": (POST, [b"hello"], [("x", "1\r\n\r\nGET /evil HTTP/1.1")], REFUSED),
    "trailers-upper-case": (POST, [b"hello"], [("X-Sum", "1")], REFUSED),
    # Sizes.
    "list-too-large": (GOOD + [(f"x-{place}", "v" * 900) for place in range(90)], None, None, REFUSED),
}


def load(folder=None):
    return [{"id": name, "name": name, "case": case} for name, case in CASES.items()]


def run(case, lane):
    fields, pieces, trailers, wanted = case["case"]
    lane.begin()
    outcome = exchange(lane, fields, pieces, trailers)
    if lane.origin.violations:
        # A body the client never finished leaves a message cut short, which no origin takes for a whole one.
        cut = [text for text in lane.origin.violations if "no whole message" not in text]
        if cut or wanted == SERVED:
            return "the origin got " + (cut or lane.origin.violations)[0]
    if any(request.target == b"/evil" or b"evil" in request.body and wanted == REFUSED for request in lane.origin.requests):
        return "the origin got a request that was smuggled in"
    if len(lane.origin.requests) > (1 if wanted == SERVED else 0):
        return f"the origin got {len(lane.origin.requests)} requests"
    if wanted == REFUSED:
        fits = outcome.startswith(("reset", "goaway", "closed")) or outcome.startswith("status 4") or outcome == "status 501"
        return None if fits else f"wanted a refusal, got {outcome}"
    if outcome != "status 200":
        return f"wanted it served, got {outcome}"
    request = lane.origin.requests[0]
    if case["id"].startswith("length") and request.body != b"hello":
        return f"the body became {request.body!r}"
    if case["id"] == "cookies" and request.all(b"cookie") != [b"a=1; b=2"]:
        return f"cookies became {request.all(b'cookie')}"
    return None


def exchange(lane, fields, pieces, trailers):
    """What comes of one stream: `status N`, `reset CODE`, `goaway CODE`, `closed` or `nothing`."""
    encoder, decoder = hpack.Encoder(), hpack.Decoder()
    with lane.connect() as connection:
        settings = SettingsFrame(0)
        data = PREFACE + settings.serialize()
        head = HeadersFrame(1, data=block(encoder, fields))
        head.flags.add("END_HEADERS")
        if pieces is None and trailers is None:
            head.flags.add("END_STREAM")
        frames = [head]
        if len(head.data) > 16000:
            whole = head.data
            head.data = whole[:16000]
            head.flags.discard("END_HEADERS")
            rest = [whole[start : start + 16000] for start in range(16000, len(whole), 16000)]
            for place, piece in enumerate(rest):
                frames.append(continuation(piece, place == len(rest) - 1))
        for place, piece in enumerate(pieces or []):
            frame = DataFrame(1, data=piece)
            if place == len(pieces) - 1 and trailers is None:
                frame.flags.add("END_STREAM")
            frames.append(frame)
        if trailers is not None:
            tail = HeadersFrame(1, data=block(encoder, trailers))
            tail.flags.add("END_HEADERS")
            tail.flags.add("END_STREAM")
            frames.append(tail)
        data += b"".join(frame.serialize() for frame in frames)
        try:
            connection.sendall(data)
        except OSError:
            pass
        return answer(connection, decoder)


def block(encoder, fields):
    return encoder.encode([(key, value) for key, value in fields], huffman=False)


def continuation(data, ends):
    from hyperframe.frame import ContinuationFrame

    frame = ContinuationFrame(1, data=data)
    if ends:
        frame.flags.add("END_HEADERS")
    return frame


def answer(connection, decoder):
    connection.settimeout(3)
    held = b""
    try:
        while True:
            while len(held) >= 9:
                frame, length = Frame.parse_frame_header(memoryview(held[:9]))
                if len(held) < 9 + length:
                    break
                frame.parse_body(memoryview(held[9 : 9 + length]))
                held = held[9 + length :]
                if isinstance(frame, HeadersFrame) and frame.stream_id == 1:
                    fields = dict(decoder.decode(frame.data))
                    status = fields.get(":status")
                    if status is not None and int(status) >= 200:
                        return f"status {status}"
                elif isinstance(frame, RstStreamFrame):
                    return f"reset {frame.error_code}"
                elif isinstance(frame, GoAwayFrame):
                    return f"goaway {frame.error_code}"
                elif isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
                    reply = SettingsFrame(0)
                    reply.flags.add("ACK")
                    connection.sendall(reply.serialize())
                    update = WindowUpdateFrame(0, window_increment=65535)
                    connection.sendall(update.serialize())
            new = connection.recv(65536)
            if not new:
                return "closed"
            held += new
    except TimeoutError:
        return "nothing"
    except (ConnectionError, socket.error):
        return "closed"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--programs", help="where meshproxy is; or, for one that runs already, the next two")
    parser.add_argument("--proxy", type=int, help="its port")
    parser.add_argument("--origin", type=int, help="the port on which it expects the origin")
    parser.add_argument("--case")
    options = parser.parse_args()
    lane = Lane(options.programs) if options.programs else GivenLane(options.proxy, options.origin)
    wrongs = 0
    try:
        for case in load():
            if options.case and options.case != case["id"]:
                continue
            wrong = run(case, lane)
            if not lane.alive():
                wrong = f"the proxy died: {lane.process.returncode}"
            if wrong:
                wrongs += 1
                print(f"{case['id']}: {wrong}")
            if not lane.alive():
                break
    finally:
        lane.end()
    return 1 if wrongs else 0


if __name__ == "__main__":
    sys.exit(main())
