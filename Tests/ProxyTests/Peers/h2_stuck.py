"""A client that sends large requests on many streams and takes nothing of their answers. `h2_stuck.py PORT STREAMS BYTES` says "sent"."""
import socket
import sys

import h2.config
import h2.connection
import h2.events

port, streams, size = (int(word) for word in sys.argv[1:])
sock = socket.create_connection(("127.0.0.1", port), timeout=30)
peer = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
peer.initiate_connection()
left = {}
for number in range(streams):
    stream = 2 * number + 1
    peer.send_headers(stream, [
        (":method", "POST"), (":scheme", "http"), (":path", "/echo"), (":authority", "t"), ("content-length", str(size))])
    left[stream] = size
while left:
    for stream in list(left):
        while left.get(stream):
            room = min(peer.local_flow_control_window(stream), peer.max_outbound_frame_size, left[stream])
            if room <= 0:
                break
            left[stream] -= room
            peer.send_data(stream, bytes(room), end_stream=left[stream] == 0)
            if left[stream] == 0:
                del left[stream]
    sock.sendall(peer.data_to_send())
    if left:
        peer.receive_data(sock.recv(65536))
print("sent", flush=True)
sys.stdin.read()
