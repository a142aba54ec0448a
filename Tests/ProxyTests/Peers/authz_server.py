"""An authorization server as Envoy's are (envoy.service.auth.v3), by grpcio and google.protobuf.

Prints its port. What it answers follows from the request's header `x-case`. A line "checks" from stdin has it print how many checks it had,
"peers" from how many connections.
"""
import json
import os
import sys
import threading
import time
from concurrent import futures

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

STRING, BYTES, INT64, INT32, UINT32, BOOL, MESSAGE = 9, 12, 3, 5, 13, 8, 11
MAP = "map"
MESSAGES = {
    "Status": [("code", 1, INT32), ("message", 2, STRING)],
    "BoolValue": [("value", 1, BOOL)],
    "HttpStatus": [("code", 1, INT32)],
    "HeaderValue": [("key", 1, STRING), ("value", 2, STRING), ("raw_value", 3, BYTES)],
    "HeaderValueOption": [
        ("header", 1, "HeaderValue"), ("append", 2, "BoolValue"), ("append_action", 3, INT32)],
    "QueryParameter": [("key", 1, STRING), ("value", 2, STRING)],
    "SocketAddress": [("protocol", 1, INT32), ("address", 2, STRING), ("port_value", 3, UINT32)],
    "Address": [("socket_address", 1, "SocketAddress")],
    "Peer": [
        ("address", 1, "Address"), ("service", 2, STRING), ("labels", 3, MAP), ("principal", 4, STRING),
        ("certificate", 5, STRING)],
    "Timestamp": [("seconds", 1, INT64), ("nanos", 2, INT32)],
    "HttpRequest": [
        ("id", 1, STRING), ("method", 2, STRING), ("headers", 3, MAP), ("path", 4, STRING), ("host", 5, STRING),
        ("scheme", 6, STRING), ("query", 7, STRING), ("fragment", 8, STRING), ("size", 9, INT64),
        ("protocol", 10, STRING), ("body", 11, STRING), ("raw_body", 12, BYTES)],
    "Request": [("time", 1, "Timestamp"), ("http", 2, "HttpRequest")],
    "TLSSession": [("sni", 1, STRING)],
    "AttributeContext": [
        ("source", 1, "Peer"), ("destination", 2, "Peer"), ("request", 4, "Request"), ("context_extensions", 10, MAP),
        ("tls_session", 12, "TLSSession")],
    "CheckRequest": [("attributes", 1, "AttributeContext")],
    "DeniedHttpResponse": [
        ("status", 1, "HttpStatus"), ("headers", 2, "*HeaderValueOption"), ("body", 3, STRING)],
    "OkHttpResponse": [
        ("headers", 2, "*HeaderValueOption"), ("headers_to_remove", 5, "*"),
        ("response_headers_to_add", 6, "*HeaderValueOption"), ("query_parameters_to_set", 7, "*QueryParameter"),
        ("query_parameters_to_remove", 8, "*")],
    "CheckResponse": [
        ("status", 1, "Status"), ("denied_response", 2, "DeniedHttpResponse"), ("ok_response", 3, "OkHttpResponse"),
        ("dynamic_metadata", 4, "Status")],
}


def classes():
    file = descriptor_pb2.FileDescriptorProto(name="check.proto", package="check", syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind in fields:
            made = message.field.add(name=field, number=number, label=1)
            if kind == MAP:
                entry = "".join(part.capitalize() for part in field.split("_")) + "Entry"
                nested = message.nested_type.add(name=entry)
                nested.options.map_entry = True
                nested.field.add(name="key", number=1, label=1, type=STRING)
                nested.field.add(name="value", number=2, label=1, type=STRING)
                made.label, made.type, made.type_name = 3, MESSAGE, f".check.{name}.{entry}"
            elif isinstance(kind, str):
                if kind.startswith("*"):
                    made.label, kind = 3, kind[1:]
                made.type = MESSAGE if kind else STRING
                if kind:
                    made.type_name = f".check.{kind}"
            else:
                made.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"check.{name}")) for name in MESSAGES}


CLASSES = classes()
state = {"checks": 0, "peers": set()}
lock = threading.Lock()


def option(key, value, action=0, append=False):
    return {"header": {"key": key, "value": value}, "append_action": action, "append": {"value": append}}


def ok(**answer):
    return {"status": {"code": 0}, "ok_response": answer}


def answer(case, seen):
    http = seen["attributes"]["request"]["http"]
    if case == "edits":
        return ok(
            headers=[
                option("X-Identity", "Bob"), option("x-identity", "Alice"), option("x-list", "b", append=True),
                option("x-absent", "new", 1), option("x-kept", "new", 1), option("x-over", "new", 2),
                option("x-there", "new", 3), option("x-missing", "new", 3), option("content-length", "7"),
                option("host", "elsewhere")],
            headers_to_remove=["X-Secret", "authorization", "host"],
            response_headers_to_add=[
                option("set-cookie", "a=1", append=True), option("set-cookie", "b=2", append=True),
                option("server", "weft"), option("x-new", "1", 1), option("x-if-there", "1", 3)],
            query_parameters_to_set=[{"key": "token", "value": "a b&c"}, {"key": "q", "value": "2"}],
            query_parameters_to_remove=["drop"])
    if case == "seen":
        return ok(headers=[option("x-seen", json.dumps(seen))])
    if case == "deny":
        return {
            "status": {"code": 7},
            "denied_response": {
                "status": {"code": 401}, "body": "log in, please",
                "headers": [option("www-authenticate", "Basic"), option("x-more", "1", append=True)]}}
    if case == "plain":
        return {"status": {"code": 16}}
    if case == "big":
        return {"status": {"code": 7}, "denied_response": {"status": {"code": 403}, "body": "x" * 100_000}}
    if case == "body":
        body = http.get("body") or http.get("raw_body") or ""
        if "bad" in body:
            return {"status": {"code": 7}, "denied_response": {"body": f"{len(body)} bytes"}}
        return ok(headers=[
            option("x-shown", str(len(body))),
            option("x-partial", http["headers"].get("x-envoy-auth-partial-body", "?"))])
    return ok()


def check(request, context):
    seen = CLASSES["CheckRequest"].FromString(request)
    with lock:
        state["checks"] += 1
        state["peers"].add(context.peer())
    shown = json_format.MessageToDict(seen, preserving_proto_field_name=True)
    shown["metadata"] = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
    case = seen.attributes.request.http.headers.get("x-case", "")
    if case == "slow":
        time.sleep(1.5)
    if case == "pause":
        time.sleep(0.05)
    if case == "die":
        os._exit(0)
    if case.startswith("abort "):
        context.abort(getattr(grpc.StatusCode, case[6:]), "as asked")
    if case == "raw":
        return bytes.fromhex(seen.attributes.request.http.headers["x-raw"])
    made = CLASSES["CheckResponse"]()
    json_format.ParseDict(answer(case, shown), made)
    return made.SerializeToString()


class Authorization(grpc.GenericRpcHandler):
    def service(self, call):
        if call.method == "/envoy.service.auth.v3.Authorization/Check":
            return grpc.unary_unary_rpc_method_handler(check)
        return None


server = grpc.server(futures.ThreadPoolExecutor(48), options=[("grpc.so_reuseport", 0)])
server.add_generic_rpc_handlers((Authorization(),))
where = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:0"
print(server.add_insecure_port(where), flush=True)
server.start()
for line in sys.stdin:
    with lock:
        said = state["checks"] if line.strip() == "checks" else len(state["peers"])
    print(said, flush=True)
