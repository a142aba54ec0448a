"""Another HTTP/2 implementation (h2) against the server: many streams, large bodies, windows, resets, and what a client must not do."""

import json
import socket
import sys
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings

import kubeconfig

HOST, PORT, CONTEXT = kubeconfig.load(sys.argv[1])
CONTEXT.set_alpn_protocols(["h2", "http/1.1"])


class Client:
    def __init__(self, **settings):
        raw = socket.create_connection((HOST, PORT), timeout=20)
        self.socket = CONTEXT.wrap_socket(raw, server_hostname=HOST)
        assert self.socket.selected_alpn_protocol() == "h2", self.socket.selected_alpn_protocol()
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.h2.initiate_connection()
        if settings:
            self.h2.update_settings({getattr(h2.settings.SettingCodes, name): value for name, value in settings.items()})
        self.answers, self.events, self.ended, self.reset, self.gone = {}, [], set(), {}, None
        self.acknowledges = True
        self.flush()

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.socket.sendall(data)

    def headers(self, method, path, *more, end=True):
        stream = self.h2.get_next_available_stream_id()
        fields = [(":method", method), (":scheme", "https"), (":path", path), (":authority", f"{HOST}:{PORT}"), *more]
        self.h2.send_headers(stream, fields, end_stream=end)
        self.answers[stream] = [None, b"", {}]
        self.flush()
        return stream

    def read(self):
        """Takes what came; False at the end."""
        data = self.socket.recv(65536)
        if not data:
            return False
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                fields = dict(event.headers)
                self.answers[event.stream_id][0] = int(fields[":status"])
                self.answers[event.stream_id][2] = fields
            elif isinstance(event, h2.events.DataReceived):
                self.answers[event.stream_id][1] += event.data
                if self.acknowledges:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                self.ended.add(event.stream_id)
            elif isinstance(event, h2.events.StreamReset):
                self.reset[event.stream_id] = event.error_code
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.gone = event.error_code
        self.flush()
        return True

    def until(self, condition, what):
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end, f"{what} did not happen"
            if not self.read():
                assert condition(), f"the connection ended before {what}"
                return

    def get(self, path):
        stream = self.headers("GET", path, ("accept", "application/json"))
        self.until(lambda: stream in self.ended, f"the answer to {path}")
        return self.answers[stream]

    def post(self, path, body, piece=16384):
        stream = self.headers(
            "POST", path, ("content-type", "application/json"), ("content-length", str(len(body))), end=False)
        place = 0
        try:
            while place < len(body) and stream not in self.reset:
                room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, piece, len(body) - place)
                if room == 0:
                    # A stream that was taken back keeps the window it had.
                    self.until(lambda: stream in self.reset or self.h2.local_flow_control_window(stream) > 0, "a window's opening")
                    continue
                place += room
                self.h2.send_data(stream, body[place - room : place], end_stream=place == len(body))
                self.flush()
        except h2.exceptions.StreamClosedError:
            pass  # the server wants no more of it
        self.until(lambda: stream in self.ended or stream in self.reset, "the answer to a body")
        return self.answers[stream]


def config_map(name, size):
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "x" * size}}).encode()


MAPS = "/api/v1/namespaces/default/configmaps"

client = Client()
status, body, fields = client.get("/version")
assert status == 200 and json.loads(body)["major"] == "1", (status, body)
assert fields["content-length"] == str(len(body)), fields

# Many at once on one connection, their answers in any order.
streams = [client.headers("GET", "/api/v1/namespaces/default") for _ in range(200)]
client.until(lambda: all(stream in client.ended for stream in streams), "200 answers")
assert all(client.answers[stream][0] == 200 for stream in streams)

# Bodies beyond the windows, both ways.
for number in range(4):
    status, body, _ = client.post(MAPS, config_map(f"large-{number}", 900_000))
    assert status == 201, (status, body[:300])
status, body, _ = client.get(MAPS)
assert status == 200 and len(body) > 3_600_000 and len(json.loads(body)["items"]) == 4
status, body, _ = client.post(MAPS, config_map("too-large", 4 << 20))
assert status == 413 and json.loads(body)["reason"] == "RequestEntityTooLarge", (status, body[:300])

# A watch among other requests.
watch = client.headers("GET", MAPS + "?watch=true&resourceVersion=0")
client.until(lambda: client.answers[watch][1].count(b'"type":"ADDED"') == 4, "the watch's first events")
status, _, _ = client.post(MAPS, config_map("seen", 10))
client.until(lambda: b'"name":"seen"' in client.answers[watch][1], "the event")
client.h2.reset_stream(watch)
client.flush()
assert client.get("/version")[0] == 200

# Many watches of one scope, one that selects, and one whose client opens its window late: each sees all of its own once, in order.
def names(one, stream):
    lines = one.answers[stream][1].split(b"\n")[:-1]
    return [json.loads(line)["object"]["metadata"]["name"] for line in lines]


def seen(one, stream):
    return one.answers[stream][1].count(b"\n")


version = json.loads(client.get(MAPS)[1])["metadata"]["resourceVersion"]
crowd = Client()
following = MAPS + "?watch=true&resourceVersion=" + version
watches = [crowd.headers("GET", following) for _ in range(40)]
selecting = crowd.headers("GET", following + "&labelSelector=is%3Deven")
beside = Client()
partial = beside.headers("GET", following, ("accept", "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"))
whole = beside.headers("GET", following)
late = Client(INITIAL_WINDOW_SIZE=1000)
late.acknowledges = False
held = late.headers("GET", following)
crowd.until(lambda: all(crowd.answers[stream][0] == 200 for stream in watches + [selecting]), "the watches' begin")
beside.until(lambda: all(beside.answers[stream][0] == 200 for stream in (partial, whole)), "the begin beside")
late.until(lambda: late.answers[held][0] == 200, "the late watch's begin")
made = [f"crowd-{number}" for number in range(40)]
for number, name in enumerate(made):
    item = json.loads(config_map(name, 5000))
    item["metadata"]["labels"] = {"is": "odd" if number % 2 else "even"}
    assert client.post(MAPS, json.dumps(item).encode())[0] == 201
crowd.until(lambda: all(seen(crowd, stream) >= 40 for stream in watches), "all events at all watches")
crowd.until(lambda: seen(crowd, selecting) >= 20, "all events at the watch that selects")
assert all(names(crowd, stream) == made for stream in watches)
assert names(crowd, selecting) == made[::2], names(crowd, selecting)
beside.until(lambda: seen(beside, partial) >= 40 and seen(beside, whole) >= 40, "all events beside, in two forms")
assert names(beside, partial) == made and names(beside, whole) == made
assert beside.answers[whole][1] == crowd.answers[watches[0]][1]
assert b'"kind":"PartialObjectMetadata"' in beside.answers[partial][1] and b'"data"' not in beside.answers[partial][1]
late.until(lambda: len(late.answers[held][1]) == 1000, "the first thousand bytes of a watch")
late.h2.increment_flow_control_window(1 << 20)
late.h2.increment_flow_control_window(1 << 20, held)
late.flush()
late.until(lambda: seen(late, held) >= 40, "all events at the late watch")
assert names(late, held) == made, names(late, held)
for name in made:
    crowd.headers("DELETE", MAPS + "/" + name)
crowd.until(lambda: seen(crowd, watches[0]) >= 80, "the deletions")

# A client that opens no window gets no more than it allows, until it does.
slow = Client(INITIAL_WINDOW_SIZE=1000)
slow.acknowledges = False
stream = slow.headers("GET", MAPS)
slow.until(lambda: len(slow.answers[stream][1]) == 1000, "the first thousand bytes")
slow.socket.settimeout(0.3)
try:
    while slow.read():
        pass
except TimeoutError:
    pass
assert len(slow.answers[stream][1]) == 1000, len(slow.answers[stream][1])
slow.socket.settimeout(20)
slow.acknowledges = True
slow.h2.acknowledge_received_data(1000, stream)
slow.h2.increment_flow_control_window(8 << 20, stream)
slow.h2.increment_flow_control_window(8 << 20)
slow.flush()
slow.until(lambda: stream in slow.ended, "the rest")
assert len(json.loads(slow.answers[stream][1])["items"]) == 5

# Headers beyond the limit end their own stream only.
stream = client.headers("GET", "/version", *[(f"x-large-{number}", "v" * 4000) for number in range(14)])
client.until(lambda: stream in client.ended or stream in client.reset, "the refusal of headers")
assert client.answers[stream][0] == 431, client.answers[stream]
assert client.get("/version")[0] == 200

# What is no request ends its stream; what is no HTTP/2 ends the connection.
config = h2.config.H2Configuration(header_encoding="utf-8", validate_outbound_headers=False, normalize_outbound_headers=False)
bad = Client()
bad.h2.config = config
for fields in ([(":method", "GET"), (":scheme", "https")], [(":method", "GET"), (":scheme", "https"), (":path", "/"), ("Upper", "x")],
               [(":method", "GET"), (":scheme", "https"), (":path", "/"), ("connection", "close")],
               [(":method", "GET"), (":scheme", "https"), (":path", "/a HTTP/1.1")]):
    stream = bad.h2.get_next_available_stream_id()
    bad.answers[stream] = [None, b"", {}]
    bad.h2.send_headers(stream, fields, end_stream=True)
    bad.flush()
    bad.until(lambda: stream in bad.reset, f"the refusal of {fields}")
for noise in (b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00", b"\x00\x00\x01\x00\x00\x00\x00\x00\x00x",
              b"\xff\xff\xff\x00\x00\x00\x00\x00\x01", b"\x00\x00\x05\x01\x04\x00\x00\x00\x01\xff\xff\xff\xff\xff"):
    broken = Client()
    broken.socket.sendall(noise)
    broken.until(lambda: broken.gone is not None, f"the end after {noise}")
    assert broken.gone != 0
rapid = Client()
try:
    for _ in range(2000):
        stream = rapid.headers("GET", MAPS)
        rapid.h2.reset_stream(stream)
        rapid.flush()
except OSError:
    pass
try:
    rapid.until(lambda: rapid.gone is not None, "the end of a client that takes back what it asks")
except OSError:
    pass
assert client.get("/version")[0] == 200
print("ok")
