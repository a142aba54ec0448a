"""A gRPC server's health by grpcio itself. Prints its port; each line read from stdin is the status it has from then on: 1 serves, 2 does not."""
import sys
from concurrent import futures

import grpc

state = {"": 1, "shop": 1}


def check(request, context):
    name = request[2:].decode() if request else ""
    if name not in state:
        context.abort(grpc.StatusCode.NOT_FOUND, "no such service")
    return bytes([8, state[name]])


class Health(grpc.GenericRpcHandler):
    def service(self, call):
        if call.method == "/grpc.health.v1.Health/Check":
            return grpc.unary_unary_rpc_method_handler(check)
        return None


server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
server.add_generic_rpc_handlers((Health(),))
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
for line in sys.stdin:
    state["shop"] = int(line)
    print("done", flush=True)
