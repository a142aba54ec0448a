#!/usr/bin/env python3
"""An admission webhook on loopback: answers as its path says, and writes down what it was asked.

usage: webhook.py CERTIFICATE KEY LOG — prints its port."""

import base64
import http.server
import json
import ssl
import sys
import threading
import time

LOCK = threading.Lock()


def patch(*operations):
    return {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(operations).encode()).decode()}


def answer(path, request):
    target = request["object"] or request["oldObject"]
    labels = target.get("metadata", {}).get("labels") or {}
    if path == "/deny":
        return {"allowed": False, "status": {"code": 403, "reason": "Forbidden", "message": "not on my watch"}}
    if path == "/deny-silently":
        return {"allowed": False}
    if path == "/warn":
        return {"allowed": True, "warnings": ["think again"], "auditAnnotations": {"seen": "yes"}}
    if path.startswith("/stage/"):
        stage = path.rsplit("/", 1)[1]
        seen = (target.get("data") or {}).get("stages", "")
        return {"allowed": True, **patch({"op": "add", "path": "/data/stages", "value": seen + stage})}
    if path == "/sidecar":
        container = {"name": "late", "image": "example.test/late:1", "ports": [{"containerPort": 9}]}
        return {"allowed": True, **patch({"op": "add", "path": "/spec/containers/-", "value": container})}
    if path == "/count":
        count = str(int(labels.get("count", "0")) + 1)
        operation = {"op": "add", "path": "/metadata/labels", "value": {**labels, "count": count}}
        return {"allowed": True, **patch(operation)}
    if path == "/bad-patch":
        return {"allowed": True, **patch({"op": "remove", "path": "/nothing/here"})}
    if path == "/slow":
        time.sleep(3)
    return {"allowed": True}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        request = body["request"]
        path = self.path.split("?")[0]
        with LOCK, open(sys.argv[3], "a") as log:
            log.write(json.dumps({"path": self.path, "peer": self.client_address[1], "review": body}) + "\n")
        if path == "/status-500":
            self.reply(500, b"out of order")
            return
        if path == "/wrong-uid":
            response = {"uid": "another", "allowed": True}
        else:
            response = {"uid": request["uid"], **answer(path, request)}
        review = {"apiVersion": body["apiVersion"], "kind": "AdmissionReview", "response": response}
        self.reply(200, json.dumps(review).encode())

    def reply(self, status, body):
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1], sys.argv[2])
    server.socket = context.wrap_socket(server.socket, server_side=True)
    print(server.server_address[1], flush=True)
    server.serve_forever()


main()
