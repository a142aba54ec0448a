"""An HTTP/2 origin on loopback by prior knowledge, on the h2 library, which refuses what breaks the rules.

Prints its port. After the most streams of a connection may come a certificate chain and its key, for TLS. `/echo` gives the body back with its trailers, `/big/N` sends N bytes, `/trailers` ends with some, `/early` says 103
first, `/reset` resets, `/refuse` refuses a connection's first stream, `/refuse/N` the first N streams of all, `/grpc/CODE/only/N` and
`/grpc/CODE/late/N` answer the first N calls with that code, in trailers only or behind a message, `/leave` says GOAWAY at a connection's hundredth request and takes no more,
`/slow` answers after a while, `/status/N` has no body. CONNECT with a protocol echoes. Faults of peers go to standard error.
"""
import socket
import ssl
import sys
import threading
import time

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.frame import GoAwayFrame


class Exchange:
    def __init__(self, headers):
        self.headers = dict(headers)
        self.body = bytearray()
        self.trailers = []


class Session:
    calls = 0

    def __init__(self, sock, limit):
        self.sock = sock
        self.lock = threading.Lock()
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.local_settings.max_concurrent_streams = limit
        self.h2.local_settings.enable_connect_protocol = 1
        self.exchanges = {}
        self.waiting = {}
        self.seen = 0
        self.last = None

    def serve(self):
        try:
            with self.lock:
                self.h2.initiate_connection()
                self.h2.update_settings({
                    h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: self.h2.local_settings.max_concurrent_streams,
                    h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1,
                })
                self.flush()
            while True:
                data = self.sock.recv(65536)
                if not data:
                    return
                with self.lock:
                    for event in self.h2.receive_data(data):
                        self.handle(event)
                    self.flush()
        except h2.exceptions.ProtocolError as fault:
            print(f"peer broke the protocol: {fault!r}", file=sys.stderr, flush=True)
            self.flush()
        except OSError:
            pass
        finally:
            self.sock.close()

    def flush(self):
        data = self.h2.data_to_send()
        if data:
            self.sock.sendall(data)

    def handle(self, event):
        if isinstance(event, h2.events.RequestReceived):
            if self.last is not None and event.stream_id > self.last:
                return
            self.seen += 1
            exchange = Exchange(event.headers)
            path = exchange.headers.get(":path", "")
            words = path.split("/")[1:]
            if words[0] == "refuse":
                Session.calls += 1
                if (Session.calls <= int(words[1])) if len(words) > 1 else self.seen == 1:
                    self.h2.reset_stream(event.stream_id, 7)
                    return
            self.exchanges[event.stream_id] = exchange
            if path.startswith("/leave") and self.seen == 100:
                self.last = event.stream_id
                self.flush()
                self.sock.sendall(GoAwayFrame(0, last_stream_id=self.last).serialize())
            if exchange.headers.get(":protocol"):
                self.h2.send_headers(event.stream_id, [(":status", "200")])
        elif isinstance(event, h2.events.DataReceived):
            self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            exchange = self.exchanges.get(event.stream_id)
            if exchange is None:
                return
            if exchange.headers.get(":protocol"):
                self.send(event.stream_id, bytes(event.data), False)
            else:
                exchange.body += event.data
        elif isinstance(event, h2.events.TrailersReceived):
            self.exchanges[event.stream_id].trailers = list(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            if event.stream_id in self.exchanges:
                self.answer(event.stream_id, self.exchanges.pop(event.stream_id))
        elif isinstance(event, h2.events.StreamReset):
            self.exchanges.pop(event.stream_id, None)
            self.waiting.pop(event.stream_id, None)
            print(f"reset {event.stream_id} {int(event.error_code)}", file=sys.stderr, flush=True)
        elif isinstance(event, (h2.events.WindowUpdated, h2.events.RemoteSettingsChanged)):
            for stream in list(self.waiting):
                data, ends = self.waiting.pop(stream)
                self.send(stream, data, ends)

    def send(self, stream, data, ends):
        """Sends what the windows allow; the rest waits. `ends`: False, True or trailers."""
        while data:
            room = min(self.h2.local_flow_control_window(stream), self.h2.max_outbound_frame_size, len(data))
            if room <= 0:
                self.waiting[stream] = (data, ends)
                return
            self.h2.send_data(stream, data[:room], end_stream=ends is True and room == len(data))
            data = data[room:]
            if not data and ends is True:
                return
        if ends is True:
            self.h2.end_stream(stream)
        elif ends:
            self.h2.send_headers(stream, ends, end_stream=True)

    def answer(self, stream, exchange):
        path = exchange.headers.get(":path", "/")
        method = exchange.headers.get(":method")
        if exchange.headers.get(":protocol"):
            self.h2.end_stream(stream)
            return
        if path.startswith("/reset"):
            self.h2.send_headers(stream, [(":status", "200")])
            self.h2.reset_stream(stream, 2)
            return
        if path.startswith("/slow"):
            def later():
                time.sleep(0.3)
                try:
                    with self.lock:
                        self.h2.send_headers(stream, [(":status", "200")], end_stream=True)
                        self.flush()
                except (h2.exceptions.ProtocolError, OSError):
                    pass
            threading.Thread(target=later, daemon=True).start()
            return
        if path.startswith("/grpc/"):
            code, kind, bad = path.split("/")[2:5]
            Session.calls += 1
            outcome = [("grpc-status", code if Session.calls <= int(bad) else "0")]
            head = [(":status", "200"), ("content-type", "application/grpc")]
            if kind == "only":
                self.h2.send_headers(stream, head + outcome, end_stream=True)
                return
            self.h2.send_headers(stream, head)
            self.send(stream, b"\0\0\0\0\x02hi", outcome)
            return
        if path.startswith("/early"):
            self.h2.send_headers(stream, [(":status", "103"), ("link", "</a.css>")])
        if path.startswith("/status/"):
            self.h2.send_headers(stream, [(":status", path.split("/")[2])], end_stream=True)
            return
        body = b"h2 origin"
        ends = True
        if path.startswith("/echo"):
            body = bytes(exchange.body)
            ends = exchange.trailers or True
        elif path.startswith("/big/"):
            body = bytes(int(path.split("/")[2]))
        elif path.startswith("/headers"):
            body = "\n".join(f"{name}: {value}" for name, value in exchange.headers.items()).encode()
        elif path.startswith("/trailers"):
            ends = [("x-checked", "yes"), ("x-second", "2")]
        headers = [(":status", "200"), ("x-origin", "h2")]
        if "length" in path:
            headers.append(("content-length", str(len(body))))
        if method == "HEAD":
            self.h2.send_headers(stream, headers + [("content-length", str(len(body)))], end_stream=True)
            return
        self.h2.send_headers(stream, headers)
        self.send(stream, body, ends)


def begin(sock, context):
    """One client's connection; with TLS only for those who agree on HTTP/2."""
    try:
        if context:
            sock = context.wrap_socket(sock, server_side=True)
            if sock.selected_alpn_protocol() != "h2":
                sock.close()
                return
        Session(sock, limit).serve()
    except OSError:
        pass


limit = int(sys.argv[1]) if len(sys.argv) > 1 else 100


def main():
    context = None
    if len(sys.argv) > 3:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(sys.argv[2], sys.argv[3])
        context.set_alpn_protocols(["h2"])
    door = socket.create_server(("127.0.0.1", 0), backlog=128)
    print(door.getsockname()[1], flush=True)
    while True:
        sock, _ = door.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=begin, args=(sock, context), daemon=True).start()


main()
