"""The proxies compared: ours, nginx, HAProxy and Envoy, each with one worker and configured to do the same.

A subject is a dictionary of what it can do: `plain` one HTTP/1.1 hop, `pair` two proxies with mutual TLS between them, `h2` one hop whose
clients speak HTTP/2 without TLS, `tcp` one hop of opaque bytes. Each is a port and the processes whose CPU counts. 100 routes stand before the
one that takes the requests.

Envoy is run as its own benchmarking advice says: as many workers as the others have, no access log, limits of connections and requests out
of the way, no request ids and no per-request statistics of the router. That is less than ours does, which counts and numbers each request.
"""

import json
import os
import subprocess

from machine import family, free_port, wait_for

ROUTES = 100
BODY = "hello from the origin, sixty-six bytes of body for every request.\n"


def certificates(scratch):
    def run(command):
        subprocess.run(command, shell=True, check=True, cwd=scratch.path, stderr=subprocess.DEVNULL)

    run("openssl ecparam -name prime256v1 -genkey -noout -out ca.key")
    run("openssl req -x509 -new -key ca.key -subj /CN=bench -days 2 -out ca.crt")
    for name in ("client", "server"):
        scratch.write(
            f"{name}.ext",
            f"subjectAltName=URI:spiffe://cluster.local/ns/bench/sa/{name}\nextendedKeyUsage=serverAuth,clientAuth\n",
        )
        run(f"openssl ecparam -name prime256v1 -genkey -noout -out {name}.key")
        run(f"openssl req -new -key {name}.key -subj / -out {name}.csr")
        run(f"openssl x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile {name}.ext -out {name}.crt")
        run(f"cat {name}.crt {name}.key > {name}.pem")


def temporary(scratch, prefix):
    return " ".join(f"{kind}_temp_path {scratch.path}/{prefix}{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))


def start_origin(scratch):
    """What all proxies stand before: 66 bytes, 1 KB at /kb, 1 MB at /big."""
    port = free_port()
    os.makedirs(os.path.join(scratch.path, "www"))
    with open(os.path.join(scratch.path, "www/big"), "wb") as file:
        file.write(os.urandom(1 << 20))
    config = scratch.write(
        "origin.conf",
        f"""daemon off; worker_processes 1; pid {scratch.path}/origin.pid; error_log {scratch.path}/origin.err; user root;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; {temporary(scratch, "")}
  server {{ listen 127.0.0.1:{port} reuseport backlog=4096; location / {{ return 200 "{BODY.strip()}\\n"; }}
    location /kb {{ return 200 "{"k" * 1024}"; }} location /big {{ root {scratch.path}/www; }} }} }}
""",
    )
    process = scratch.start("origin", ["nginx", "-c", config])
    wait_for(port, process)
    return port


def identity(scratch, name):
    return {
        "certificateChainFile": f"{scratch.path}/{name}.crt", "privateKeyFile": f"{scratch.path}/{name}.key",
        "trustRootsFile": f"{scratch.path}/ca.crt"}


def our_gateway(port, endpoint, routes=ROUTES):
    rules = [
        {"name": f"route {n}", "matches": [{"path": {"prefix": f"/api/v{n}"}}], "backends": [{"backend": "o", "weight": 1}]}
        for n in range(routes)]
    rules.append({"name": "all", "backends": [{"backend": "o", "weight": 1}]})
    return {
        "workload": {"name": "client", "gatewayListeners": [{"name": "http", "port": port, "routes": [{"hosts": ["*"], "rules": rules}]}]},
        "backends": [{"name": "o", "service": "origin.bench.svc.cluster.local", "namespace": "bench", "endpoints": [endpoint]}],
    }


def our_process(scratch, programs, name, config, port):
    path = scratch.write(f"{name}.json", json.dumps(config))
    command = [os.path.join(programs, "meshproxy"), "run", "--config", path, "--concurrency", "1", "--drain-seconds", "0"]
    process = scratch.start(name, command)
    wait_for(port, process)
    return process


def our_pair(scratch, programs, origin, name, multiplexing):
    """Two sidecars with mutual TLS between them: the port of the first, that of the second, and their processes."""
    front, back = free_port(), free_port()
    server = {
        "workload": {"name": "server", "mutualTLS": "STRICT", "inboundPorts": [{"port": origin, "protocol": "http"}]},
        "identity": identity(scratch, "server"),
        "listeners": [{"side": "inbound", "address": "127.0.0.1", "port": back, "destination": f"127.0.0.1:{origin}"}],
    }
    client = our_gateway(front, {"address": "127.0.0.1", "port": back, "principal": "spiffe://cluster.local/ns/bench/sa/server"})
    client["identity"] = identity(scratch, "client")
    for config in (server, client):
        config["workload"]["multiplexing"] = multiplexing
    far = our_process(scratch, programs, f"{name}-server", server, back).pid
    near = our_process(scratch, programs, f"{name}-client", client, front).pid
    return front, back, [near, far]


def ours(scratch, programs, origin, bulk):
    plain, tcp = free_port(), free_port()

    def run(name, config, port):
        return our_process(scratch, programs, name, config, port).pid

    one = run("ours-plain", our_gateway(plain, {"address": "127.0.0.1", "port": origin, "workload": "origin"}), plain)
    front, back, both = our_pair(scratch, programs, origin, "ours", "BY_LOAD")
    kinds = {}
    for kind, multiplexing in (("always", "ON"), ("never", "OFF")):
        shared, _, sharing = our_pair(scratch, programs, origin, f"ours-{multiplexing}", multiplexing)
        kinds[kind] = (shared, sharing)
    opaque = {
        "listeners": [{"side": "outbound", "address": "127.0.0.1", "port": tcp, "destination": f"127.0.0.1:{bulk}"}],
        "servicePorts": [{
            "namespace": "bench", "service": "bulk", "port": bulk, "addresses": ["127.0.0.1"], "protocol": "tcp", "defaultBackend": "o"}],
        "backends": [{"name": "o", "service": "bulk", "endpoints": [{"address": "127.0.0.1", "port": bulk}]}],
    }
    stream = run("ours-tcp", opaque, tcp)
    return {
        "plain": (plain, [one]), "h2": (plain, [one]), "pair": (front, both), "tcp": (tcp, [stream]), "far": (back, both[1:]), **kinds}


def nginx(scratch, origin):
    port = free_port()
    routes = " ".join(f"location /api/v{n} {{ proxy_pass http://o; }}" for n in range(ROUTES))
    config = scratch.write(
        "nginx.conf",
        f"""daemon off; worker_processes 1; pid {scratch.path}/nginx.pid; error_log {scratch.path}/nginx.err; user root;
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 1000000000; {temporary(scratch, "n-")}
  upstream o {{ server 127.0.0.1:{origin}; keepalive 128; keepalive_requests 1000000000; }}
  proxy_http_version 1.1; proxy_set_header Connection "";
  server {{ listen 127.0.0.1:{port}; {routes} location / {{ proxy_pass http://o; }} }} }}
""",
    )
    process = scratch.start("nginx", ["nginx", "-c", config])
    wait_for(port, process)
    return {"plain": (port, family(process.pid))}


def haproxy(scratch, origin, bulk):
    plain, front, back, h2, tcp, splice = (free_port() for _ in range(6))
    base = """global
  nbthread 1
  maxconn 4000
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
  http-reuse always
"""
    tls = f"ssl crt {scratch.path}/%s.pem ca-file {scratch.path}/ca.crt verify required"
    routes = scratch.write("haproxy.map", "".join(f"/api/v{n} o\n" for n in range(ROUTES)))

    def web(port, server, bind=""):
        return (
            f"frontend p\n  bind 127.0.0.1:{port} {bind}\n  use_backend %[path,map_beg({routes},o)]\n"
            f"backend o\n  server o {server} pool-max-conn 256\n")

    def run(name, text, port):
        process = scratch.start(name, ["haproxy", "-db", "-f", scratch.write(f"{name}.cfg", base + text)])
        wait_for(port, process)
        return process.pid

    one = run("haproxy-plain", web(plain, f"127.0.0.1:{origin}"), plain)
    two = run("haproxy-h2", web(h2, f"127.0.0.1:{origin}", "proto h2"), h2)
    far = run("haproxy-server", web(back, f"127.0.0.1:{origin}", tls % "server"), back)
    near = run("haproxy-client", web(front, f"127.0.0.1:{back} {tls % 'client'}"), front)
    stream = run("haproxy-tcp", f"listen p\n  mode tcp\n  bind 127.0.0.1:{tcp}\n  server o 127.0.0.1:{bulk}\n", tcp)
    spliced = run(
        "haproxy-splice", f"listen p\n  mode tcp\n  option splice-auto\n  bind 127.0.0.1:{splice}\n  server o 127.0.0.1:{bulk}\n", splice)
    return {
        "plain": (plain, [one]), "h2": (h2, [two]), "pair": (front, [near, far]), "tcp": (tcp, [stream]), "splice": (splice, [spliced]),
        "far": (back, [far])}


def envoy(scratch, program, origin):
    plain, front, back, h2 = free_port(), free_port(), free_port(), free_port()
    kind = "type.googleapis.com/envoy.extensions"

    def secrets(name):
        return {
            "tls_certificates": [
                {"certificate_chain": {"filename": f"{scratch.path}/{name}.crt"}, "private_key": {"filename": f"{scratch.path}/{name}.key"}}],
            "validation_context": {"trusted_ca": {"filename": f"{scratch.path}/ca.crt"}},
        }

    def config(port, target, listener_tls=None, cluster_tls=None, codec="AUTO"):
        route = {"cluster": "o", "timeout": "60s"}
        routes = [{"match": {"prefix": f"/api/v{n}"}, "route": route} for n in range(ROUTES)] + [{"match": {"prefix": "/"}, "route": route}]
        manager = {
            "@type": f"{kind}.filters.network.http_connection_manager.v3.HttpConnectionManager", "stat_prefix": "in", "codec_type": codec,
            "generate_request_id": False,
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
            "http_filters": [{"name": "router", "typed_config": {"@type": f"{kind}.filters.http.router.v3.Router", "dynamic_stats": False}}],
        }
        chain = {"filters": [{"name": "hcm", "typed_config": manager}]}
        many = 1_000_000
        limits = [{"max_connections": many, "max_pending_requests": many, "max_requests": many, "max_retries": many}]
        cluster = {
            "name": "o", "type": "STATIC", "connect_timeout": "2s", "circuit_breakers": {"thresholds": limits},
            "load_assignment": {"cluster_name": "o", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": target}}}}]}]},
        }
        if listener_tls:
            chain["transport_socket"] = {"name": "tls", "typed_config": {
                "@type": f"{kind}.transport_sockets.tls.v3.DownstreamTlsContext", "common_tls_context": secrets(listener_tls),
                "require_client_certificate": True}}
        if cluster_tls:
            cluster["transport_socket"] = {"name": "tls", "typed_config": {
                "@type": f"{kind}.transport_sockets.tls.v3.UpstreamTlsContext", "common_tls_context": secrets(cluster_tls)}}
        return {"static_resources": {"clusters": [cluster], "listeners": [
            {"name": "l", "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}}, "filter_chains": [chain]}]}}

    def run(name, number, settings, port):
        path = scratch.write(f"{name}.yaml", json.dumps(settings))
        process = scratch.start(
            name, [program, "-c", path, "--concurrency", "1", "--base-id", str(number), "-l", "error", "--use-dynamic-base-id"])
        wait_for(port, process)
        return process.pid

    one = run("envoy-plain", 1, config(plain, origin), plain)
    far = run("envoy-server", 2, config(back, origin, listener_tls="server"), back)
    near = run("envoy-client", 3, config(front, back, cluster_tls="client"), front)
    two = run("envoy-h2", 4, config(h2, origin, codec="HTTP2"), h2)
    return {
        "plain": (plain, family(one)), "h2": (h2, family(two)), "pair": (front, family(near) + family(far)), "far": (back, family(far))}
