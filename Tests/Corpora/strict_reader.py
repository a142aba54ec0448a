"""A strict reader of HTTP/1.1 messages, written from RFC 9110 and 9112 alone: what both ends of the proxy are judged by."""

import re

TOKEN = re.compile(rb"[0-9A-Za-z!#$%&'*+\-.^_`|~]+\Z")
VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*\Z")
TARGET = re.compile(rb"[\x21-\x7e]+\Z")
# Later minor versions may come; a proxy sends on its own (RFC 9110 §2.5).
VERSION = re.compile(rb"HTTP/1\.([0-9])\Z")
_CHAR = rb"[0-9A-Za-z!#$%&'*+\-.^_`|~]"
_QUOTED = rb'"(?:[\t\x20\x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'
SIZE = re.compile(rb"([0-9A-Fa-f]+)(?:;" + _CHAR + rb"+(?:=(?:" + _CHAR + rb"+|" + _QUOTED + rb"))?)*\Z")
STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*))?\Z")
LONGEST_LINE = 1 << 17


class Violation(Exception):
    """Bytes that are no message, or could be taken for more than one."""


class Incomplete(Exception):
    """The bytes end inside a message."""


class Reader:
    """Takes lines and bytes from what `more` gives (empty bytes at the end)."""

    def __init__(self, more):
        self.more = more
        self.held = b""

    def fill(self):
        new = self.more()
        if not new:
            raise Incomplete()
        self.held += new

    def line(self):
        while b"\n" not in self.held:
            if len(self.held) > LONGEST_LINE:
                raise Violation("a line without end")
            self.fill()
        line, self.held = self.held.split(b"\n", 1)
        if not line.endswith(b"\r"):
            raise Violation(f"a line that ends in a bare LF: {line[:60]!r}")
        if b"\r" in line[:-1] or b"\0" in line:
            raise Violation(f"a CR or NUL inside a line: {line[:60]!r}")
        return line[:-1]

    def exactly(self, count):
        while len(self.held) < count:
            self.fill()
        body, self.held = self.held[:count], self.held[count:]
        return body


class Message:
    def __init__(self):
        self.method = self.target = b""
        self.status = 0
        self.minor = 1
        self.headers = []
        self.body = b""
        self.trailers = []

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name]

    def one(self, name):
        found = self.all(name)
        return found[0] if found else None

    def key(self):
        return (self.method, self.target, self.body)


def fields(reader):
    found = []
    while True:
        line = reader.line()
        if not line:
            return found
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.match(name):
            raise Violation(f"a line that is no field: {line[:60]!r}")
        value = value.strip(b" \t")
        if not VALUE.match(value):
            raise Violation(f"a control character in a value: {line[:60]!r}")
        found.append((name, value))


def framing(message):
    """The body's length, "chunked" or None; refuses all that two readers could read differently (RFC 9112 §6.3)."""
    for name, _ in message.headers:
        plain = name.lower().replace(b"_", b"-")
        if plain != name.lower() and plain in (b"content-length", b"transfer-encoding", b"host"):
            raise Violation(f"a name that gateways read as {plain.decode()}: {name!r}")
    lengths, codings = message.all(b"content-length"), message.all(b"transfer-encoding")
    if lengths and codings:
        raise Violation("Content-Length beside Transfer-Encoding")
    if len(lengths) > 1 or len(codings) > 1:
        raise Violation("framing given twice")
    if codings:
        if codings[0].lower() != b"chunked":
            raise Violation(f"Transfer-Encoding: {codings[0]!r}")
        if message.minor == 0:
            raise Violation("Transfer-Encoding in HTTP/1.0")
        return "chunked"
    if lengths:
        if not re.match(rb"[0-9]+\Z", lengths[0]) or len(lengths[0]) > 18:
            raise Violation(f"Content-Length: {lengths[0]!r}")
        return int(lengths[0])
    return None


def chunks(reader, message):
    body = b""
    while True:
        match = SIZE.match(reader.line())
        if not match or len(match.group(1)) > 15:
            raise Violation("a chunk size that is none")
        size = int(match.group(1), 16)
        if size == 0:
            message.trailers = fields(reader)
            return body
        body += reader.exactly(size)
        if reader.exactly(2) != b"\r\n":
            raise Violation("chunk data without its CRLF")


def request_head(reader):
    """Reads a head. Raises Incomplete at once when the sender has ended between messages."""
    message = Message()
    line = reader.line()
    parts = line.split(b" ")
    if len(parts) != 3 or not TOKEN.match(parts[0]) or not TARGET.match(parts[1]) or not VERSION.match(parts[2]):
        raise Violation(f"a request line that is none: {line[:60]!r}")
    message.method, message.target = parts[0], parts[1]
    message.minor = int(VERSION.match(parts[2]).group(1))
    message.headers = fields(reader)
    hosts = message.all(b"host")
    if len(hosts) > 1 or (not hosts and message.minor == 1):
        raise Violation(f"{len(hosts)} Host fields")
    return message


def request_body(reader, message):
    length = framing(message)
    if length == "chunked":
        message.body = chunks(reader, message)
    elif length:
        message.body = reader.exactly(length)
    return message


def response(reader, to_head=False):
    """Reads one response, interim ones too. `body` of one without length is what comes until the end."""
    message = Message()
    match = STATUS.match(reader.line())
    if not match:
        raise Violation("a status line that is none")
    message.minor, message.status = int(match.group(1)), int(match.group(2))
    message.headers = fields(reader)
    length = framing(message)
    if message.status < 200 or message.status in (204, 304) or to_head:
        return message
    if length == "chunked":
        message.body = chunks(reader, message)
    elif length is not None:
        message.body = reader.exactly(length)
    else:
        try:
            while True:
                reader.fill()
        except Incomplete:
            message.body, reader.held = reader.held, b""
    return message


def requests_in(data):
    """The requests a strict reader finds in the bytes, up to the first that is none; and that reader's complaint."""
    pieces = [data]
    reader = Reader(lambda: pieces.pop() if pieces else b"")
    found = []
    try:
        while True:
            # One or more empty lines before a request may be passed over (RFC 9112 §2.2).
            while reader.held.startswith(b"\r\n") or (not reader.held and pieces):
                if reader.held:
                    reader.held = reader.held[2:]
                else:
                    reader.fill()
            found.append(request_body(reader, request_head(reader)))
    except Violation as fault:
        return found, str(fault)
    except Incomplete:
        return found, None
