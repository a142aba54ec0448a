"""A conversion webhook over HTTPS: v1 has spec.hostPort where v1beta1 has spec.host and spec.port.

Arguments: the names of its certificate. Prints its port, then its authority's certificate in base64.
An object of the name "broken" is refused.
"""
import http.server
import json
import sys

from peer_tls import serve


def convert(thing, wanted):
    if thing["metadata"]["name"] == "broken":
        raise ValueError("broken things stay as they are")
    thing = json.loads(json.dumps(thing))
    spec = thing.setdefault("spec", {})
    if wanted.endswith("/v1") and "host" in spec:
        spec["hostPort"] = "%s:%s" % (spec.pop("host"), spec.pop("port", 80))
    if wanted.endswith("/v1beta1") and "hostPort" in spec:
        host, port = spec.pop("hostPort").split(":")
        spec["host"], spec["port"] = host, int(port)
    thing["apiVersion"] = wanted
    thing["metadata"].setdefault("labels", {})["converted"] = "yes"
    return thing


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["content-length"])))
        request = review["request"]
        response = {"uid": request["uid"]}
        try:
            response["convertedObjects"] = [convert(o, request["desiredAPIVersion"]) for o in request["objects"]]
            response["result"] = {"status": "Success"}
        except ValueError as error:
            response["result"] = {"status": "Failure", "message": str(error)}
        body = json.dumps({"apiVersion": review["apiVersion"], "kind": review["kind"], "response": response}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


serve(Handler, sys.argv[1:])
