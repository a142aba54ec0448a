"""Reads what a proxy tells with other people's code, and prints it as JSON.

metrics URL (openmetrics|text) [gzip]   a scrape, by prometheus_client
spans FILE                              an ExportTraceServiceRequest, by opentelemetry-proto
gunzip FILE                             the bytes, unpacked
"""

import gzip
import json
import sys
import urllib.request


def metrics(url, form, *encoding):
    accept = "application/openmetrics-text; version=1.0.0" if form == "openmetrics" else "text/plain"
    request = urllib.request.Request(url, headers={"accept": accept})
    if encoding:
        request.add_header("accept-encoding", encoding[0])
    with urllib.request.urlopen(request, timeout=20) as answer:
        body = answer.read()
        headers = {name.lower(): value for name, value in answer.headers.items()}
    if headers.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    text = body.decode()
    if form == "openmetrics":
        from prometheus_client.openmetrics.parser import text_string_to_metric_families
    else:
        from prometheus_client.parser import text_string_to_metric_families
    samples = []
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            entry = {"family": family.name, "type": family.type, "name": sample.name, "labels": sample.labels,
                     "value": sample.value}
            if sample.exemplar:
                entry["exemplar"] = {"labels": sample.exemplar.labels, "value": sample.exemplar.value}
            samples.append(entry)
    print(json.dumps({"headers": headers, "samples": samples}).replace("Infinity", '"inf"'))


def spans(path):
    from google.protobuf.json_format import MessageToDict
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    with open(path, "rb") as file:
        request.ParseFromString(file.read())
    found = []
    for resource in request.resource_spans:
        attributes = {a.key: MessageToDict(a.value) for a in resource.resource.attributes}
        for scope in resource.scope_spans:
            for span in scope.spans:
                found.append({
                    "resource": attributes, "scope": scope.scope.name, "trace": span.trace_id.hex(),
                    "span": span.span_id.hex(), "parent": span.parent_span_id.hex(), "name": span.name,
                    "kind": span.kind, "start": span.start_time_unix_nano, "end": span.end_time_unix_nano,
                    "status": span.status.code, "flags": span.flags,
                    "attributes": {a.key: list(MessageToDict(a.value).values())[0] for a in span.attributes},
                    "events": [event.name for event in span.events],
                })
    print(json.dumps(found))


def gunzip(path):
    with open(path, "rb") as file:
        sys.stdout.buffer.write(gzip.decompress(file.read()))


{"metrics": metrics, "spans": spans, "gunzip": gunzip}[sys.argv[1]](*sys.argv[2:])
