"""A server that begins its answer at once, and takes ten seconds for forty bytes of it.

Arguments: the names of its certificate. Prints its port, then its authority's certificate in base64.
"""
import http.server
import sys
import time

from peer_tls import serve


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


serve(Handler, sys.argv[1:])
