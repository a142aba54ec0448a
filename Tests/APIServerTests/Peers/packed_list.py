"""Asks for a list as a client that takes gzip, and checks that it comes packed and whole."""

import base64
import gzip
import http.client
import json
import ssl
import sys
import tempfile

import kubeconfig

config, path, count = sys.argv[1:]
host, port, context = kubeconfig.load(config)
connection = http.client.HTTPSConnection(host, port, context=context, timeout=30)
connection.request("GET", path, headers={"accept": "application/json", "accept-encoding": "gzip"})
answer = connection.getresponse()
assert answer.status == 200, answer.status
assert answer.getheader("content-encoding") == "gzip", answer.getheaders()
items = json.loads(gzip.decompress(answer.read()))["items"]
assert len(items) == int(count), len(items)
