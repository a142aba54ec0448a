"""An API server of one kind, `moons` of space.example.com/v1, that believes the front proxy's headers.

Arguments: a file with the authority of clients, then the names of its certificate. Prints its port, then its authority's certificate in base64. What it cannot verify is
whether the client's certificate is the front proxy's: it tells the certificate's name in a header of its own.
"""
import http.server
import json
import sys

from peer_tls import serve

GROUP = "/apis/space.example.com/v1"
MOONS = {"luna": {"size": 1737}}


def moon(name):
    return {
        "apiVersion": "space.example.com/v1", "kind": "Moon", "metadata": {"name": name, "resourceVersion": "5"},
        "spec": MOONS[name],
    }


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.send_header("x-asked-by", self.headers.get("X-Remote-User", ""))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        path, _, query = self.path.partition("?")
        if path == GROUP:
            return self.answer(200, {
                "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "space.example.com/v1",
                "resources": [{
                    "name": "moons", "singularName": "moon", "namespaced": False, "kind": "Moon",
                    "verbs": ["get", "list", "watch", "create", "delete"], "shortNames": ["mo"],
                }],
            })
        if path == GROUP + "/moons" and "watch=" in query:
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for name in ("luna", "luna"):
                line = json.dumps({"type": "MODIFIED", "object": moon(name)}).encode() + b"\n"
                self.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
                self.wfile.flush()
            self.wfile.write(b"0\r\n\r\n")
            return None
        if path == GROUP + "/moons":
            return self.answer(200, {
                "kind": "MoonList", "apiVersion": "space.example.com/v1", "metadata": {"resourceVersion": "5"},
                "items": [moon(name) for name in sorted(MOONS)],
            })
        name = path.rsplit("/", 1)[-1]
        if path.startswith(GROUP + "/moons/") and name in MOONS:
            found = moon(name)
            found["metadata"]["annotations"] = {
                "asked-by": self.headers.get("X-Remote-User", ""),
                "groups": ",".join(self.headers.get_all("X-Remote-Group") or []),
                "authorization": self.headers.get("Authorization", "none"),
                "certificate": self.client(),
            }
            return self.answer(200, found)
        return self.answer(404, {
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
            "message": "moons.space.example.com \"%s\" not found" % name,
        })

    def echo(self):
        """Leaves HTTP, and answers each line with its echo until one says end."""
        self.send_response(101)
        self.send_header("connection", "Upgrade")
        self.send_header("upgrade", self.headers["upgrade"])
        self.end_headers()
        self.wfile.write(b"early " + self.headers.get("X-Remote-User", "").encode() + b"\n")
        for line in self.rfile:
            self.wfile.write(b"echo " + line)
            if line == b"end\n":
                break
        self.close_connection = True

    def do_POST(self):
        if self.headers.get("upgrade"):
            return self.echo()
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        MOONS[body["metadata"]["name"]] = body.get("spec", {})
        self.answer(201, moon(body["metadata"]["name"]))

    def do_DELETE(self):
        MOONS.pop(self.path.rsplit("/", 1)[-1], None)
        self.answer(200, {"kind": "Status", "apiVersion": "v1", "status": "Success"})

    def client(self):
        certificate = self.connection.getpeercert()
        names = [value for part in (certificate or {}).get("subject", ()) for key, value in part if key == "commonName"]
        return names[0] if names else "none"

    def log_message(self, *arguments):
        pass


with open(sys.argv[1]) as file:
    roots = file.read()
serve(Handler, sys.argv[2:], roots)
