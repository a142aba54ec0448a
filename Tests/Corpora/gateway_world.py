"""A cluster in miniature for the Gateway API cases: objects, pods on loopback addresses, and a proxy for each gateway and client.

The control plane's part is the program `mesh-compiler`, the data plane is `meshproxy`; only storing, scheduling and certificates are
done here. Each Gateway has a pod of its own, as the label weft.dev/gateway allows.
"""

import base64
import copy
import datetime
import ipaddress
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from echo_backends import Backends
from lane import free_port

CONTROLLER = "weft.dev/mesh-controller"
GATEWAY_GROUP = "gateway.networking.k8s.io"


class Compiler:
    """The control plane: objects in, statuses and proxies' resources out."""

    def __init__(self, programs):
        program = os.path.join(os.path.abspath(programs), "mesh-compiler")
        self.process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, question):
        self.process.stdin.write(json.dumps(question).encode() + b"\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise OSError("mesh-compiler ended")
        return json.loads(answer)

    def end(self):
        self.process.stdin.close()
        self.process.wait(10)


class Pair:
    """A certificate with its key, from an authority or from itself."""

    def __init__(self, name, sans=(), signer=None, client=False, is_authority=False):
        self.key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:60])])
        now = datetime.datetime.now(datetime.timezone.utc)
        made = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(signer.certificate.subject if signer else subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if sans:
            names = [x509.UniformResourceIdentifier(n) if "://" in n else x509.DNSName(n) for n in sans]
            made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if not is_authority:
            use = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
            made = made.add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        self.certificate = made.sign((signer or self).key, hashes.SHA256())

    @property
    def chain(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM).decode()

    @property
    def private(self):
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


class Proxy:
    """One meshproxy with a file of its own."""

    def __init__(self, programs, directory, name, configuration):
        self.configuration = configuration
        path = os.path.join(directory, f"{name}.json")
        with open(path, "w") as file:
            json.dump(configuration, file)
        self.log = open(os.path.join(directory, f"{name}.log"), "w")
        program = os.path.join(os.path.abspath(programs), "meshproxy")
        self.process = subprocess.Popen(
            [program, "run", "--config", path, "--concurrency", "1", "--admin-port", "0", "--health-port", "0",
             "--metrics-port", "0", "--drain-seconds", "0"], stdout=self.log, stderr=self.log, cwd=directory)

    def wait(self, address, port):
        deadline = time.time() + 10
        while time.time() < deadline and self.process.poll() is None:
            try:
                socket.create_connection((address, port), 1).close()
                return True
            except OSError:
                time.sleep(0.02)
        return False

    def end(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)
        self.log.close()


class World:
    def __init__(self, corpora, programs):
        self.folder = os.path.join(corpora, "gateway-api")
        self.programs = programs
        self.directory = tempfile.mkdtemp(prefix="weft-gateway-api-")
        self.backends = Backends()
        self.compiler = Compiler(programs)
        self.objects, self.addresses, self.proxies = {}, {}, {}
        self.born = 0
        self.answer = None
        self.authorities = {}
        self.add({
            "apiVersion": f"{GATEWAY_GROUP}/v1", "kind": "GatewayClass", "metadata": {"name": "weft"},
            "spec": {"controllerName": CONTROLLER}})

    def end(self):
        for proxy in self.proxies.values():
            proxy.end()
        self.proxies = {}
        self.compiler.end()
        shutil.rmtree(self.directory, ignore_errors=True)

    # Objects.

    def add_file(self, path):
        with open(os.path.join(self.folder, path)) as file:
            text = file.read().replace("{GATEWAY_CLASS_NAME}", "weft").replace("{GATEWAY_CONTROLLER_NAME}", CONTROLLER)
        found = self.compiler.ask({"yaml": text})["objects"]
        return [self.add(item) for item in found if item]

    @staticmethod
    def key(item):
        metadata = item["metadata"]
        return item["kind"], metadata.get("namespace", ""), metadata["name"]

    def add(self, item):
        item = copy.deepcopy(item)
        metadata = item["metadata"]
        if item["kind"] not in ("Namespace", "GatewayClass") and "namespace" not in metadata:
            metadata["namespace"] = "default"
        key = self.key(item)
        self.born += 1
        older = self.objects.get(key)
        metadata.setdefault("generation", 1 if older is None else older["metadata"]["generation"] + 1)
        moment = datetime.datetime(2026, 1, 1) + datetime.timedelta(seconds=self.born)
        metadata.setdefault("creationTimestamp", older["metadata"]["creationTimestamp"] if older else f"{moment.isoformat()}Z")
        self.default(item)
        if older is not None and "status" in older:
            item.setdefault("status", older["status"])
        self.objects[key] = item
        self.answer = None
        return key

    def default(self, item):
        """What the API server would fill in, as far as a case looks at it."""
        spec = item.get("spec", {})
        if item["kind"] == "Namespace":
            item["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = item["metadata"]["name"]
        if item["kind"] == "Service" and spec.get("type") != "ExternalName" and "clusterIP" not in spec:
            number = len(self.addresses) + 1
            self.addresses[("Service",) + self.key(item)] = number
            spec["clusterIP"] = f"10.96.{number // 250}.{number % 250 + 1}"
        if item["kind"] == "Secret" and "stringData" in item:
            data = item.setdefault("data", {})
            data.update({n: base64.b64encode(v.encode()).decode() for n, v in item.pop("stringData").items()})

    def remove(self, key):
        if self.objects.pop(key, None) is not None:
            self.answer = None

    def change(self, key, edit):
        item = self.objects[key]
        edit(item)
        item["metadata"]["generation"] += 1
        self.answer = None

    def make_certificates(self, wanted):
        for one in wanted:
            if one["use"].startswith("CA"):
                pair = Pair(one["name"], is_authority=True)
                self.authorities[(one["namespace"], one["name"])] = pair
                self.authorities.setdefault(one["name"], pair)
                self.add({
                    "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": one["name"], "namespace": one["namespace"]},
                    "data": {"ca.crt": pair.chain}})
        for one in wanted:
            if one["kind"] != "Secret":
                continue
            signer = self.authorities[one["ca"]] if "ca" in one else None
            pair = Pair(one["name"], one.get("sans", ()), signer, client=one["use"] == "client")
            encode = lambda text: base64.b64encode(text.encode()).decode()
            self.add({
                "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
                "metadata": {"name": one["name"], "namespace": one["namespace"]},
                "data": {"tls.crt": encode(pair.chain), "tls.key": encode(pair.private)}})

    def text_of(self, place):
        """`<tls.crt of Secret namespace/name>`"""
        field, _, kind, name = place.strip("<>").split(" ")
        namespace, name = name.split("/")
        item = self.objects[(kind, namespace, name)]
        value = item["data"][field]
        return base64.b64decode(value).decode() if kind == "Secret" else value

    def file_of(self, place):
        text = self.text_of(place)
        path = os.path.join(self.directory, "".join(c if c.isalnum() else "-" for c in place))
        with open(path, "w") as file:
            file.write(text)
        return path

    # Pods.

    def address(self, of, block):
        number = self.addresses.setdefault((block,) + of, len(self.addresses) + 1)
        return f"127.{block}.{number // 250}.{number % 250 + 1}"

    def pods(self):
        """Of all Deployments: (namespace, name, labels, address, pod template)."""
        for (kind, namespace, name), item in list(self.objects.items()):
            if kind != "Deployment":
                continue
            template = item["spec"]["template"]
            for number in range(item["spec"].get("replicas", 1)):
                pod = f"{name}-{number}"
                labels = template["metadata"].get("labels", {})
                yield namespace, pod, labels, self.address((namespace, pod), 21), template["spec"]

    def open_backends(self):
        for namespace, pod, _, address, spec in self.pods():
            container = spec["containers"][0]
            environment = {one["name"]: one.get("value") for one in container.get("env", [])}
            secrets = [volume["secret"] for volume in spec.get("volumes", []) if "secret" in volume]
            tls = None
            if secrets and ("Secret", namespace, secrets[0]["secretName"]) in self.objects:
                name = secrets[0]["secretName"]
                tls = [self.file_of(f"<{field} of Secret {namespace}/{name}>") for field in ("tls.crt", "tls.key")]
            if "--tcp=9090" in container.get("args", []):
                for port, kind in ((8080, "http"), (7070, "http"), (9090, "tcp")):
                    self.backends.open(address, port, pod, namespace, kind)
            elif environment.get("TCP_ECHO_SERVER") or pod.startswith("tcp-backend"):
                self.backends.open(address, 3000, pod, namespace, "tcp")
                if tls:
                    self.backends.open(address, 8443, pod, namespace, "tcp", tls)
            elif not environment.get("UDP_ECHO_SERVER"):
                for port in (3000, 3001, 8080):
                    self.backends.open(address, port, pod, namespace, "http")
                if tls:
                    self.backends.open(address, 8443, pod, namespace, "http", tls)

    def cluster(self):
        """All objects as a control plane sees them, pods and slices included."""
        found = list(self.objects.values())
        pods = list(self.pods())
        for namespace, name, labels, address, spec in pods:
            found.append({
                "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": namespace, "name": name, "labels": labels},
                "spec": spec, "status": {"phase": "Running", "podIP": address}})
        for (kind, namespace, name), item in list(self.objects.items()):
            selector = item.get("spec", {}).get("selector") if kind == "Service" else None
            if selector:
                chosen = [pod for pod in pods if pod[0] == namespace and selector.items() <= pod[2].items()]
                found.append(self.slice(item, chosen))
            if kind == "Gateway":
                found += self.deployment(item)
            if kind == "EndpointSlice" and item.get("addressType") == "IPv4" and "manual" in name:
                chosen = [pod for pod in pods if pod[0] == namespace and pod[2].get("app") == "infra-backend-v1"]
                item["endpoints"] = [{"addresses": [pod[3]], "conditions": {"ready": True}} for pod in chosen]
        for namespace, labels in {(n, l) for n, l in self.clients()}:
            name = self.client_name(labels)
            found.append({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {
                    "namespace": namespace, "name": name, "labels": dict(pair.split("=") for pair in labels.split(",")),
                    "annotations": {"weft.dev/intercept": "true"}},
                "spec": {"initContainers": [{"name": "weft-proxy"}], "containers": [{"name": "client"}]},
                "status": {"phase": "Running", "podIP": self.address((namespace, name), 23)}})
        return found

    @staticmethod
    def client_name(labels):
        return "client-" + labels.replace("=", "-").replace(",", "-")

    def clients(self):
        return [
            ("gateway-conformance-mesh", "app=echo,version=v1"), ("gateway-conformance-mesh", "app=echo,version=v2"),
            ("gateway-conformance-mesh-consumer", "app=echo,version=v1"),
        ]

    def slice(self, service, pods):
        namespace, name = service["metadata"]["namespace"], service["metadata"]["name"]
        ports = []
        for port in service["spec"].get("ports", []):
            target = port.get("targetPort", port["port"])
            ports.append({"name": port.get("name", ""), "port": target, "protocol": port.get("protocol", "TCP")})
        return {
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {"namespace": namespace, "name": f"{name}-made", "labels": {"kubernetes.io/service-name": name}},
            "addressType": "IPv4", "ports": ports,
            "endpoints": [
                {"addresses": [pod[3]], "conditions": {"ready": True, "serving": True},
                 "targetRef": {"kind": "Pod", "namespace": pod[0], "name": pod[1]}} for pod in pods]}

    @staticmethod
    def gateway_name(item):
        return f"{item['metadata']['namespace']}.{item['metadata']['name']}"[:63].rstrip(".-")

    def deployment(self, gateway):
        """A Gateway's own pod and the Service before it, on ports that need no rights."""
        namespace, name = gateway["metadata"]["namespace"], gateway["metadata"]["name"]
        label = self.gateway_name(gateway)
        gateway["metadata"].setdefault("labels", {})["weft.dev/gateway"] = label
        ports = sorted({listener["port"] for listener in gateway["spec"].get("listeners", [])})
        pod = {
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": namespace, "name": f"gateway-{name}", "labels": {"weft.dev/gateway": label}},
            "spec": {"containers": [{"name": "weft-proxy"}]},
            "status": {"phase": "Running", "podIP": self.address((namespace, name), 22)}}
        number = self.addresses.setdefault(("front", namespace, name), len(self.addresses) + 1)
        service = {
            "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": namespace, "name": f"gateway-{name}"},
            "spec": {
                "clusterIP": f"10.97.{number // 250}.{number % 250 + 1}", "selector": {"weft.dev/gateway": label},
                "ports": [{"name": f"p{port}", "port": port, "targetPort": self.opened(port)} for port in ports]}}
        return [pod, service]

    @staticmethod
    def opened(port):
        return port + 10000 if port < 20000 else port

    # The control plane's answer, and proxies that hold it.

    def settle(self):
        if self.answer is not None:
            return self.answer
        self.open_backends()
        names = [f"{ns}/gateway-{name}" for kind, ns, name in self.objects if kind == "Gateway"]
        names += [f"{namespace}/{self.client_name(labels)}" for namespace, labels in self.clients()]
        self.answer = self.compiler.ask({"objects": self.cluster(), "pods": names})
        for key, item in self.objects.items():
            status = self.answer["statuses"].get(f"{key[0]} {key[1]}/{key[2]}" if key[1] else f"{key[0]} {key[2]}")
            if status is not None:
                item["status"] = status
        return self.answer

    def told(self, pod):
        """All a pod's proxy is told at once: a file has nobody to ask for more."""
        told = copy.deepcopy(self.settle()["pods"][pod])
        if told["workload"] is not None:
            told["workload"].pop("loading", None)
        return told

    def gateway_proxy(self, gateway):
        """The address of a Gateway's proxy, which runs with what it was told last."""
        namespace, name = gateway.split("/")
        told = self.told(f"{namespace}/gateway-{name}")
        address = self.address((namespace, name), 22)
        if told["workload"] is None:
            return address
        for listener in told["workload"].get("gatewayListeners", []):
            listener["address"] = address
        told["workload"].setdefault("gatewayListeners", [])
        first = told["workload"]["gatewayListeners"][:1]
        self.run(("gateway", namespace, name), told, address, first[0]["port"] if first else None)
        return address

    def client_proxy(self, client, destination):
        """Where a pod's call to an address comes to its sidecar."""
        namespace, labels = client["namespace"], client["labels"]
        told = self.told(f"{namespace}/{self.client_name(labels)}")
        key = ("client", namespace, labels, destination)
        running = self.proxies.get(key)
        port = running.configuration["listeners"][0]["port"] if running else free_port()
        told["listeners"] = [{"side": "outbound", "address": "127.0.0.1", "port": port, "destination": destination}]
        self.run(key, told, "127.0.0.1", port)
        return "127.0.0.1", port

    def run(self, key, configuration, address, port):
        running = self.proxies.get(key)
        if running is not None:
            if running.configuration == configuration and running.process.poll() is None:
                return
            running.end()
        name = "".join(c if c.isalnum() else "-" for c in "-".join(key))
        self.proxies[key] = Proxy(self.programs, self.directory, name, configuration)
        if port is not None:
            self.proxies[key].wait(address, port)

    def stop_proxies(self):
        for proxy in self.proxies.values():
            proxy.end()
        self.proxies = {}
