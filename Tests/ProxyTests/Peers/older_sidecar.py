"""A sidecar that knows no streams: mutual TLS, and of the mesh's protocols HTTP/1.1 alone. `older_sidecar.py CHAIN KEY ROOTS` prints its port."""
import socket
import ssl
import sys
import threading

context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.minimum_version = ssl.TLSVersion.TLSv1_3
context.load_cert_chain(sys.argv[1], sys.argv[2])
context.load_verify_locations(sys.argv[3])
context.verify_mode = ssl.CERT_REQUIRED
context.set_alpn_protocols(["weft-http/1.1"])


def serve(sock):
    try:
        with context.wrap_socket(sock, server_side=True) as line:
            pending = b""
            while True:
                while b"\r\n\r\n" not in pending:
                    data = line.recv(65536)
                    if not data:
                        return
                    pending += data
                pending = pending.split(b"\r\n\r\n", 1)[1]
                line.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nolder")
    except OSError:
        pass


door = socket.create_server(("127.0.0.1", 0), backlog=256)
print(door.getsockname()[1], flush=True)
while True:
    threading.Thread(target=serve, args=(door.accept()[0],), daemon=True).start()
