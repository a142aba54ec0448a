"""Asks several hosts over one HTTP/2 connection with TLS. `h2_hosts.py PORT ROOTS NAME HOST...` connects for NAME, prints each status."""
import socket
import ssl
import sys

import h2.config
import h2.connection
import h2.events

port, roots, name = sys.argv[1:4]
context = ssl.create_default_context(cafile=roots)
context.set_alpn_protocols(["h2", "http/1.1"])
sock = context.wrap_socket(socket.create_connection(("127.0.0.1", int(port)), timeout=30), server_hostname=name)
assert sock.selected_alpn_protocol() == "h2", sock.selected_alpn_protocol()
peer = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
peer.initiate_connection()
for host in sys.argv[4:]:
    stream = peer.get_next_available_stream_id()
    head = [(":method", "GET"), (":scheme", "https"), (":path", "/name"), (":authority", host)]
    peer.send_headers(stream, head, end_stream=True)
    sock.sendall(peer.data_to_send())
    status, ended = None, False
    while not ended:
        for event in peer.receive_data(sock.recv(65536)):
            if isinstance(event, h2.events.ResponseReceived):
                status = dict(event.headers)[":status"]
            ended = ended or isinstance(event, h2.events.StreamEnded)
        sock.sendall(peer.data_to_send())
    print(status, flush=True)
