"""A plain client of the API: requests as they go over the wire, and watches line by line."""

import base64
import http.client
import json
import os
import ssl
import tempfile
import urllib.parse

import yaml


class APIError(AssertionError):
    def __init__(self, method, path, status, body):
        self.status, self.body = status, body
        message = body.get("message", body) if isinstance(body, dict) else body
        super().__init__(f"{method} {path}: {status}: {message}")

    @property
    def reason(self):
        return self.body.get("reason", "") if isinstance(self.body, dict) else ""


class Client:
    """One user of a cluster, by kubeconfig or by token."""

    def __init__(self, kubeconfig, token=None):
        with open(kubeconfig) as file:
            config = yaml.safe_load(file)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.server = urllib.parse.urlparse(cluster["server"])
        self.root = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self.context = ssl.create_default_context(cadata=self.root)
        self.token = token
        if token is None:
            with tempfile.TemporaryDirectory() as directory:
                files = [os.path.join(directory, name) for name in ("cert", "key")]
                for name, path in zip(("client-certificate-data", "client-key-data"), files):
                    with open(path, "wb") as file:
                        file.write(base64.b64decode(user[name]))
                self.context.load_cert_chain(*files)

    def connect(self, timeout=60):
        return http.client.HTTPSConnection(self.server.hostname, self.server.port, context=self.context, timeout=timeout)

    def raw(self, method, path, body=None, headers=None, timeout=60, **query):
        """Status, headers and bytes of one answer."""
        connection = self.connect(timeout)
        try:
            connection.request(method, target(path, query), body=encoded(body), headers=self.headers(headers))
            answer = connection.getresponse()
            told = {}
            for key, value in answer.getheaders():
                told[key.lower()] = f"{told[key.lower()]}, {value}" if key.lower() in told else value
            return answer.status, told, answer.read()
        finally:
            connection.close()

    def headers(self, more):
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        headers.update(more or {})
        return headers

    def call(self, method, path, body=None, headers=None, **query):
        status, told, text = self.raw(method, path, body, headers, **query)
        try:
            found = json.loads(text)
        except ValueError:
            found = text.decode(errors="replace")
        if status >= 300:
            raise APIError(method, path, status, found)
        return found

    def get(self, path, **query):
        return self.call("GET", path, **query)

    def create(self, path, body, **query):
        return self.call("POST", path, body, **query)

    def replace(self, path, body, **query):
        return self.call("PUT", path, body, **query)

    def delete(self, path, body=None, **query):
        return self.call("DELETE", path, body, **query)

    def patch(self, path, body, kind="merge", **query):
        types = {"merge": "application/merge-patch+json", "json": "application/json-patch+json",
                 "strategic": "application/strategic-merge-patch+json", "apply": "application/apply-patch+yaml"}
        return self.call("PATCH", path, body, {"Content-Type": types[kind]}, **query)

    def refused(self, status, method, path, body=None, headers=None, **query):
        """The Status of a request that must fail so."""
        try:
            found = self.call(method, path, body, headers, **query)
        except APIError as error:
            assert error.status == status, f"expected {status}: {error}"
            return error.body
        raise AssertionError(f"{method} {path} must fail with {status}, and gave {str(found)[:300]}")

    def watch(self, path, timeout=60, **query):
        """Events as they come; ends with the server's end, fails when nothing comes for so many seconds."""
        connection = self.connect(timeout)
        try:
            connection.request("GET", target(path, dict(query, watch="true")), headers=self.headers(None))
            answer = connection.getresponse()
            if answer.status != 200:
                raise APIError("WATCH", path, answer.status, json.loads(answer.read()))
            for line in answer:
                yield json.loads(line)
        finally:
            connection.close()


def target(path, query):
    words = {key: value for key, value in query.items() if value is not None}
    return path + ("?" + urllib.parse.urlencode(words, doseq=True) if words else "")


def encoded(body):
    if body is None or isinstance(body, (bytes, str)):
        return body
    return json.dumps(body)


def name(thing):
    return thing["metadata"]["name"]


def version(thing):
    return thing["metadata"]["resourceVersion"]
