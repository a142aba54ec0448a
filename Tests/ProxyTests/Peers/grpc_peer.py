"""gRPC by grpcio itself. `grpc_peer.py serve` prints its port; `grpc_peer.py call PORT CASE [ROOTS NAME]` ends with 0 when the case went as it should."""
import sys
import threading
import time
from concurrent import futures

import grpc


def echo(request, context):
    if request.startswith(b"fail"):
        context.set_trailing_metadata((("x-why", "asked"),))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "asked to fail: ü")
    if request.startswith(b"sleep"):
        time.sleep(5)
    context.send_initial_metadata((("x-initial", "1"),))
    context.set_trailing_metadata((("x-trailing", "2"), ("x-bytes-bin", b"\x00\x01\xff")))
    return request


def count(request, context):
    for number in range(int(request)):
        yield b"%d" % number


def total(requests, context):
    return b"%d" % sum(len(request) for request in requests)


def talk(requests, context):
    for request in requests:
        yield request.upper()


def serve():
    server = grpc.server(futures.ThreadPoolExecutor(32), options=[("grpc.so_reuseport", 0)])
    handlers = {
        "Echo": grpc.unary_unary_rpc_method_handler(echo),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Total": grpc.stream_unary_rpc_method_handler(total),
        "Talk": grpc.stream_stream_rpc_method_handler(talk),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Peer", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


def unary(channel):
    call = channel.unary_unary("/test.Peer/Echo")
    for size in (0, 1, 5000, 1 << 20):
        body = b"x" * size
        answer, state = call.with_call(body, timeout=20, metadata=(("x-mine", "yes"),))
        assert answer == body, size
        assert ("x-initial", "1") in tuple(state.initial_metadata())
        assert dict(state.trailing_metadata())["x-trailing"] == "2"
        assert dict(state.trailing_metadata())["x-bytes-bin"] == b"\x00\x01\xff"


def failure(channel):
    try:
        channel.unary_unary("/test.Peer/Echo")(b"fail", timeout=20)
        raise AssertionError("did not fail")
    except grpc.RpcError as fault:
        assert fault.code() == grpc.StatusCode.FAILED_PRECONDITION, fault
        assert fault.details() == "asked to fail: ü", fault.details()
        assert dict(fault.trailing_metadata())["x-why"] == "asked"


def streams(channel):
    answers = list(channel.unary_stream("/test.Peer/Count")(b"2000", timeout=20))
    assert answers == [b"%d" % number for number in range(2000)]
    assert channel.stream_unary("/test.Peer/Total")((b"z" * 10000 for _ in range(300)), timeout=20) == b"3000000"
    said = []
    lock = threading.Semaphore(1)

    def words():
        for number in range(200):
            lock.acquire()
            yield b"word %d" % number

    for answer in channel.stream_stream("/test.Peer/Talk")(words(), timeout=20):
        said.append(answer)
        lock.release()
    assert said == [b"WORD %d" % number for number in range(200)]


def deadline(channel):
    started = time.monotonic()
    try:
        channel.unary_unary("/test.Peer/Echo")(b"sleep", timeout=0.5)
        raise AssertionError("did not fail")
    except grpc.RpcError as fault:
        assert fault.code() == grpc.StatusCode.DEADLINE_EXCEEDED, fault
    assert time.monotonic() - started < 4


def unimplemented(channel):
    try:
        channel.unary_unary("/test.Peer/Nothing")(b"", timeout=20)
        raise AssertionError("did not fail")
    except grpc.RpcError as fault:
        assert fault.code() == grpc.StatusCode.UNIMPLEMENTED, fault


def refused(code, reason):
    def check(channel):
        try:
            channel.unary_unary("/test.Peer/Echo")(b"x", timeout=20)
            raise AssertionError("did not fail")
        except grpc.RpcError as fault:
            assert fault.code() == code, fault
            assert fault.details() == reason, fault
    return check


def together(channel):
    call = channel.unary_unary("/test.Peer/Echo")
    pending = [call.future(b"%d" % number * 50, timeout=20) for number in range(500)]
    for number, future in enumerate(pending):
        assert future.result() == b"%d" % number * 50


CASES = {
    "unary": unary, "failure": failure, "streams": streams, "deadline": deadline, "unimplemented": unimplemented,
    "together": together, "unavailable": refused(grpc.StatusCode.UNAVAILABLE, "connect_failure"),
    "no_route": refused(grpc.StatusCode.UNIMPLEMENTED, "no_route"),
}

if sys.argv[1] == "serve":
    serve()
else:
    target, options = f"127.0.0.1:{sys.argv[2]}", [("grpc.enable_retries", 0)]
    if len(sys.argv) > 5:
        with open(sys.argv[4], "rb") as file:
            trusted = grpc.ssl_channel_credentials(file.read())
        channel = grpc.secure_channel(target, trusted, options + [("grpc.ssl_target_name_override", sys.argv[5])])
    else:
        channel = grpc.insecure_channel(target, options=options)
    with channel as opened:
        names = ["unary", "failure", "streams", "deadline", "unimplemented", "together"]
        for name in (names if sys.argv[3] == "all" else [sys.argv[3]]):
            CASES[name](opened)
