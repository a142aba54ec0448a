"""One proxy in front of one origin, on loopback: cases run in it one after the other, so that what the origin sees is theirs."""

import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time

import strict_reader
from strict_reader import Incomplete, Reader, Violation


def free_port():
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        return door.getsockname()[1]


class Origin:
    """A strict origin that answers by echo, or with scripted bytes, and notes what reached it."""

    def __init__(self, port=0):
        self.door = socket.socket()
        self.door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.door.bind(("127.0.0.1", port))
        self.door.listen(256)
        self.port = self.door.getsockname()[1]
        self.changed = threading.Condition()
        self.clear()
        self.script = None
        self.live = set()
        threading.Thread(target=self.accept, daemon=True).start()

    def clear(self):
        self.heads, self.requests, self.violations, self.raw = [], [], [], []

    def accept(self):
        while True:
            try:
                connection, _ = self.door.accept()
            except OSError:
                return
            self.live.add(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def note(self, kind, what):
        with self.changed:
            getattr(self, kind).append(what)
            self.changed.notify_all()

    def drop_connections(self):
        """So that the next case meets fresh ones."""
        for connection in list(self.live):
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def serve(self, connection):
        def more():
            data = connection.recv(65536)
            if data:
                self.note("raw", data)
            return data

        reader = Reader(more)
        try:
            while True:
                request = strict_reader.request_head(reader)
                if request.minor > 1:
                    raise Violation(f"version 1.{request.minor}, which is not the proxy's own")
                self.note("heads", request)
                if request.one(b"expect") == b"100-continue":
                    connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                strict_reader.request_body(reader, request)
                self.note("requests", request)
                if self.script is not None:
                    answer, keeps = self.script
                    for piece in answer:
                        connection.sendall(piece)
                    if not keeps:
                        break
                    continue
                connection.sendall(answer_to(request))
                if request.minor == 0:
                    break
        except Violation as fault:
            self.note("violations", str(fault))
        except (Incomplete, OSError):
            if reader.held:
                self.note("violations", f"bytes that are no whole message: {reader.held[:80]!r}")
        finally:
            self.live.discard(connection)
            connection.close()


DATE = b"Sun, 06 Nov 1994 08:49:37 GMT"
METHODS = b"GET, HEAD, POST, PUT, PATCH, OPTIONS"


def answer_to(request):
    status, body, extra = b"200 OK", b"OK", []
    method = request.method
    if request.one(b"expect") not in (None, b"100-continue"):
        status, body = b"417 Expectation Failed", b""
    elif method in (b"POST", b"PUT", b"PATCH"):
        body = request.body or b"OK"
    elif method == b"OPTIONS":
        body, extra = b"", [(b"Allow", METHODS)]
    elif method in (b"DELETE", b"TRACE", b"CONNECT"):
        status, body, extra = b"405 Method Not Allowed", b"", [(b"Allow", METHODS)]
    elif method not in (b"GET", b"HEAD"):
        status, body = b"501 Not Implemented", b""
    if status.startswith(b"200") and request.one(b"upgrade") == b"websocket":
        if request.one(b"sec-websocket-version") not in (None, b"13"):
            status, body, extra = b"426 Upgrade Required", b"", [(b"Sec-WebSocket-Version", b"13")]
    path = request.target.split(b"?")[0]
    if path == b"/echo" and status.startswith(b"200"):
        body = b"".join(name + b": " + value + b"\n" for name, value in request.headers)
    if path == b"/cookie" and status.startswith(b"200"):
        pairs = b";".join(request.all(b"cookie")).split(b";")
        body = b"".join(pair.strip() + b"\n" for pair in pairs)
    tag = b'"v1"'
    asked = request.one(b"if-none-match")
    if method == b"GET" and status.startswith(b"200") and path == b"/":
        extra += [(b"ETag", tag), (b"Last-Modified", DATE)]
        if asked is not None and (asked == b"*" or asked.removeprefix(b"W/") == tag):
            status, body = b"304 Not Modified", b""
        elif asked is None and request.one(b"if-modified-since") == DATE:
            status, body = b"304 Not Modified", b""
    lines = [b"HTTP/1.1 " + status, b"Date: " + DATE]
    if not status.startswith(b"304"):
        lines += [b"Content-Type: text/plain", b"Content-Length: %d" % len(body)]
    lines += [name + b": " + value for name, value in extra]
    return b"\r\n".join(lines) + b"\r\n\r\n" + (b"" if method == b"HEAD" else body)


class Answer:
    """What a client got back."""

    def __init__(self):
        self.data = b""
        self.closed = False
        self.reset = False

    @property
    def status(self):
        first = self.data.split(b"\r\n", 1)[0].split(b" ")
        return int(first[1]) if len(first) > 1 and first[1].isdigit() else None

    @property
    def reason(self):
        for line in self.data.split(b"\r\n\r\n", 1)[0].split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"x-weft-reason":
                return value.strip().decode()
        return None

    def responses(self):
        """Final responses, strictly read; None when the bytes are none."""
        pieces = [self.data]
        reader = Reader(lambda: pieces.pop() if pieces else b"")
        found = []
        try:
            while True:
                message = strict_reader.response(reader)
                if message.status >= 200:
                    found.append(message)
        except Incomplete:
            return found
        except Violation:
            return None


class Lane:
    def __init__(self, programs):
        self.origin = Origin()
        self.port = free_port()
        self.directory = tempfile.mkdtemp(prefix="weft-corpora-")
        path = os.path.join(self.directory, "proxy.json")
        configuration = {
            "workload": {"name": "corpora", "inboundPorts": [{"port": self.origin.port, "protocol": "http"}]},
            "listeners": [
                {
                    "side": "inbound",
                    "address": "127.0.0.1",
                    "port": self.port,
                    "destination": f"127.0.0.1:{self.origin.port}",
                }
            ],
        }
        with open(path, "w") as file:
            json.dump(configuration, file)
        self.log = open(os.path.join(self.directory, "proxy.log"), "w")
        program = os.path.join(os.path.abspath(programs), "meshproxy")
        self.process = subprocess.Popen(
            [program, "run", "--config", path, "--concurrency", "1"],
            stdout=self.log, stderr=self.log, cwd=self.directory)
        limit = time.time() + 20
        while True:
            if self.process.poll() is not None or time.time() > limit:
                raise SystemExit(f"corpora: the proxy does not start; see {self.directory}/proxy.log")
            try:
                self.connect().close()
                break
            except OSError:
                time.sleep(0.05)

    def connect(self):
        return socket.create_connection(("127.0.0.1", self.port), 5)

    def begin(self, script=None):
        self.origin.drop_connections()
        limit = time.time() + 2
        while self.origin.live and time.time() < limit:
            time.sleep(0.001)
        self.origin.script = script
        self.origin.clear()

    def talk(self, pieces, patience=0.6, until=None):
        """Sends the pieces and reads until the proxy closes, `until(answer)` holds, or nothing comes for `patience` seconds."""
        answer = Answer()
        with self.connect() as connection:
            try:
                for piece in pieces:
                    connection.sendall(piece)
            except OSError:
                answer.reset = True
            connection.settimeout(patience)
            while until is None or not until(answer):
                try:
                    data = connection.recv(65536)
                except TimeoutError:
                    break
                except OSError:
                    answer.closed = answer.reset = True
                    break
                if not data:
                    answer.closed = True
                    break
                answer.data += data
        return answer

    def upstreams_gone(self):
        """Whether the proxy has closed its connections to the origin."""
        limit = time.time() + 2
        while self.origin.live and time.time() < limit:
            time.sleep(0.001)
        return not self.origin.live

    def alive(self):
        return self.process.poll() is None

    def end(self):
        """What a proxy left behind that ended by itself stays, for its log."""
        died = not self.alive()
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()
        self.origin.door.close()
        if not died:
            shutil.rmtree(self.directory, ignore_errors=True)


class GivenLane(Lane):
    """A lane through a proxy that somebody else has started."""

    def __init__(self, proxy, origin):
        self.origin = Origin(origin)
        self.port = proxy

    def alive(self):
        return True

    def end(self):
        self.origin.door.close()


def misread(lane, sent):
    """Why what the origin saw is not what a strict reader finds in the client's bytes; None when it is."""
    if lane.origin.violations:
        return "the origin got " + lane.origin.violations[0]
    expected, _ = strict_reader.requests_in(sent)
    for place, request in enumerate(lane.origin.requests):
        if place >= len(expected):
            return f"the origin got a request more: {request.method!r} {request.target!r}"
        wanted = expected[place]
        target = wanted.target
        if target.lower().startswith(b"http://"):
            rest = target[7:].partition(b"/")
            target = b"/" + rest[2]
        if (request.method, request.target, request.body) != (wanted.method, target, wanted.body):
            return f"the origin got {request.key()!r:.120} for {wanted.key()!r:.120}"
    return None
