"""Asks a path to leave HTTP for a protocol of its own, and says what comes back of what it sends.

Arguments: kubeconfig, path, protocol. Writes the answer's first line, then what the other side sends until it ends.
"""
import socket
import sys

import kubeconfig

host, port, context = kubeconfig.load(sys.argv[1])
with context.wrap_socket(socket.create_connection((host, port), timeout=30), server_hostname=host) as line:
    line.sendall(f"POST {sys.argv[2]} HTTP/1.1\r\nhost: {host}\r\nconnection: Upgrade\r\nupgrade: {sys.argv[3]}\r\n\r\n".encode())
    told = b""
    while b"\r\n\r\n" not in told:
        told += line.recv(65536)
    head, rest = told.split(b"\r\n\r\n", 1)
    print(head.decode().splitlines()[0])
    print(next((h.split(": ", 1)[1] for h in head.decode().splitlines() if h.lower().startswith("upgrade: ")), "none"))
    for word in (b"one", b"two" * 100000, b"end"):
        line.sendall(word + b"\n")
    while part := line.recv(65536):
        rest += part
    print(",".join(f"{len(word)}:{word[:5].decode()}" for word in rest.split(b"\n")))
