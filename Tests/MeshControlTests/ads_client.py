"""A delta-xDS client over grpcio: asks for all service ports, acknowledges, prints one JSON line for each response.

Usage: ads_client.py SOCKET COUNT
"""
import json
import queue
import sys

import grpc

TYPE = "type.googleapis.com/weft.proxy.v1.ServicePort"


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def text(field, value):
    data = value.encode()
    return varint(field << 3 | 2) + varint(len(data)) + data


def fields(data):
    place = 0

    def number():
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return value

    while place < len(data):
        key = number()
        assert key & 7 == 2, "all fields we are sent are length-delimited"
        size = number()
        yield key >> 3, data[place:place + size]
        place += size


def main(socket, count):
    requests = queue.Queue()
    requests.put(text(2, TYPE))
    channel = grpc.insecure_channel("unix:" + socket)
    call = channel.stream_stream(
        "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
        request_serializer=lambda message: message, response_deserializer=lambda message: message)
    responses = call(iter(requests.get, None), timeout=20)
    for _ in range(count):
        response = list(fields(next(responses)))
        names = [dict(fields(value))[3].decode() for field, value in response if field == 2]
        nonce = dict(response)[5].decode()
        requests.put(text(2, TYPE) + text(6, nonce))
        print(json.dumps({"names": names, "type": dict(response)[4].decode()}), flush=True)
    requests.put(None)
    for _ in responses:
        pass
    print(json.dumps({"status": responses.code().name}), flush=True)


main(sys.argv[1], int(sys.argv[2]))
