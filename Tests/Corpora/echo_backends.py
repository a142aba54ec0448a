"""Backends of the Gateway API cases: each pod is a server on a loopback address of its own that says who it is and what it saw."""

import asyncio
import base64
import hashlib
import json
import ssl
import threading
import time
from urllib.parse import parse_qs, urlsplit

import h2.config
import h2.connection
import h2.events

PREFACE = b"PRI * HTTP/2.0"


class Backends:
    """Runs all servers on one loop of its own."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.servers = {}
        self.paths = []  # (pod, path) of every request, for mirrors
        self.tries = {}
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def open(self, address, port, pod, namespace, kind, tls=None):
        """`kind`: http or tcp. `tls`: paths of a certificate and its key."""
        key = (address, port)
        if key in self.servers:
            return
        asyncio.run_coroutine_threadsafe(self.start(key, pod, namespace, kind, tls), self.loop).result(10)

    async def start(self, key, pod, namespace, kind, tls):
        context = None
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            if kind == "http":
                context.set_alpn_protocols(["h2", "http/1.1"])
            context.verify_mode = ssl.CERT_NONE

            def named(connection, name, _):
                connection.weft_name = name

            context.sni_callback = named

        async def serve(reader, writer):
            try:
                if kind == "tcp":
                    await self.tcp(reader, writer, pod, namespace)
                else:
                    await self.http(reader, writer, pod, namespace)
            except (OSError, asyncio.IncompleteReadError, ValueError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, key[0], key[1], ssl=context, backlog=512)
        self.servers[key] = server

    def stop(self, address):
        for key in [key for key in self.servers if key[0] == address]:
            server = self.servers.pop(key)
            self.loop.call_soon_threadsafe(server.close)

    @staticmethod
    def host(head):
        lines = [line for line in head.split(b"\r\n") if line.lower().startswith(b"host:")]
        return lines[0][5:].strip().decode() if lines else ""

    @staticmethod
    def security(writer):
        made = writer.get_extra_info("ssl_object")
        if made is None:
            return None
        return {"sni": getattr(made, "weft_name", None), "version": made.version()}

    async def tcp(self, reader, writer, pod, namespace):
        while data := await reader.read(65536):
            tls = self.security(writer)
            if data.startswith(b"GET "):
                said = json.dumps({
                    "path": data.split(b" ")[1].decode(), "host": self.host(data), "method": "GET", "proto": "HTTP/1.1",
                    "headers": {}, "namespace": namespace, "pod": pod, "tls": tls}).encode()
                writer.write(b"HTTP/1.1 200 Said\r\ncontent-length: %d\r\n\r\n" % len(said) + said)
                return
            answer = {"pod": pod, "namespace": namespace, "tls": tls is not None, "sni": (tls or {}).get("sni")}
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()

    async def http(self, reader, writer, pod, namespace):
        made = writer.get_extra_info("ssl_object")
        if made is not None and made.selected_alpn_protocol() == "h2":
            await self.http2(reader, writer, pod, namespace, b"")
            return
        while True:
            first = await reader.readline()
            if not first:
                return
            if first.startswith(PREFACE):
                await self.http2(reader, writer, pod, namespace, first)
                return
            headers = []
            while True:
                line = (await reader.readline()).strip(b"\r\n")
                if not line:
                    break
                name, _, value = line.decode("latin-1").partition(":")
                headers.append((name, value.strip()))
            method, target, protocol = first.decode("latin-1").split()
            named = {name.lower(): value for name, value in headers}
            if named.get("upgrade", "").lower() == "websocket":
                await self.websocket(reader, writer, named)
                return
            body = await self.body(reader, named)
            status, extra, answer = await self.answer(
                method, target, named.get("host", ""), protocol, headers, body, pod, namespace, self.security(writer))
            lines = [f"HTTP/1.1 {status} Said", "content-type: application/json", f"content-length: {len(answer)}"]
            lines += [f"{name}: {value}" for name, value in extra]
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + (b"" if method == "HEAD" else answer))
            await writer.drain()
            if named.get("connection", "").lower() == "close":
                return

    @staticmethod
    async def body(reader, named):
        if "content-length" in named:
            return await reader.readexactly(int(named["content-length"]))
        if named.get("transfer-encoding", "").lower() != "chunked":
            return b""
        body = b""
        while True:
            size = int((await reader.readline()).split(b";")[0], 16)
            body += await reader.readexactly(size)
            await reader.readline()
            if size == 0:
                return body

    async def answer(self, method, target, host, protocol, headers, body, pod, namespace, tls):
        parts = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self.paths.append((pod, parts.path))
        if "delay" in query:
            await asyncio.sleep(seconds(query["delay"]))
        status, fails = 200, "responseCode" in query
        if "succeedAfter" in query:
            key = (pod, query.get("uuid"))
            self.tries[key] = self.tries.get(key, 0) + 1
            fails = self.tries[key] <= int(query["succeedAfter"])
            if fails and "delayRetry" in query:
                await asyncio.sleep(seconds(query["delayRetry"]))
            if fails and "responseCode" not in query:
                raise OSError("no answer")
        if fails:
            status = int(query["responseCode"])
        seen = {}
        for name, value in headers:
            seen.setdefault(name.lower(), []).append(value)
        extra = []
        for value in seen.get("x-echo-set-header", []):
            for item in value.split(", "):
                name, _, given = item.partition(":")
                extra.append((name.strip(), given.strip()))
        said = {
            "path": target, "host": host, "method": method, "proto": protocol, "headers": seen, "namespace": namespace,
            "pod": pod, "tls": tls,
        }
        return status, extra, json.dumps(said).encode()

    async def websocket(self, reader, writer, named):
        key = named["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        writer.write(
            f"HTTP/1.1 101 Yes\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {accept}\r\n\r\n".encode())
        while True:
            first, second = await reader.readexactly(2)
            length = second & 127
            if length == 126:
                length = int.from_bytes(await reader.readexactly(2), "big")
            mask = await reader.readexactly(4)
            data = bytes(byte ^ mask[place % 4] for place, byte in enumerate(await reader.readexactly(length)))
            if first & 15 == 8:
                return
            writer.write(bytes([first, len(data)]) + data)

    async def http2(self, reader, writer, pod, namespace, held):
        link = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        link.initiate_connection()
        writer.write(link.data_to_send())
        asked = {}
        data = held or await reader.read(65536)
        while data:
            for event in link.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    fields = [(bytes(n).decode(), bytes(v).decode()) for n, v in event.headers]
                    asked[event.stream_id] = [fields, b""]
                elif isinstance(event, h2.events.DataReceived):
                    link.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    if event.stream_id in asked:
                        asked[event.stream_id][1] += event.data
                elif isinstance(event, h2.events.StreamEnded) and event.stream_id in asked:
                    await self.stream(link, writer, event.stream_id, *asked.pop(event.stream_id), pod, namespace)
            writer.write(link.data_to_send())
            await writer.drain()
            data = await reader.read(65536)

    async def stream(self, link, writer, number, fields, body, pod, namespace):
        pseudo = {name: value for name, value in fields if name.startswith(":")}
        headers = [(name, value) for name, value in fields if not name.startswith(":")]
        status, extra, answer = await self.answer(
            pseudo[":method"], pseudo[":path"], pseudo.get(":authority", ""), "HTTP/2.0", headers, body, pod, namespace,
            self.security(writer))
        is_grpc = dict(headers).get("content-type", "").startswith("application/grpc")
        kind = "application/grpc" if is_grpc else "application/json"
        link.send_headers(number, [(":status", str(status)), ("content-type", kind)] + [(n.lower(), v) for n, v in extra])
        if is_grpc:
            link.send_data(number, b"\0" + len(answer).to_bytes(4, "big") + answer)
            link.send_headers(number, [("grpc-status", "0")], end_stream=True)
        else:
            link.send_data(number, answer, end_stream=True)


def seconds(text):
    return float(text[:-2]) / 1000 if text.endswith("ms") else float(text.rstrip("s"))
