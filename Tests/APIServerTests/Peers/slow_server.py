"""A server that begins its answer at once, and takes ten seconds for forty bytes of it.

Arguments: the names of its certificate. Prints its port, then its authority's certificate in base64.
"""
import http.server
import sys
import time

from peer_tls import server_context


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.send_response(200)
        self.send_header("content-length", "40")
        self.end_headers()
        for _ in range(40):
            self.wfile.write(b".")
            self.wfile.flush()
            time.sleep(0.25)

    def log_message(self, *arguments):
        pass


context, authority = server_context(sys.argv[1:])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1])
print(authority)
sys.stdout.flush()
server.serve_forever()
