"""Reads a text of metrics with Prometheus' own client; writes each sample as a line of JSON: family, type, name, labels, value."""

import json
import re
import sys

from prometheus_client.parser import text_string_to_metric_families

seen = set()
with open(sys.argv[1]) as file:
    text = file.read()
written = {re.split("[{ ]", line)[0] for line in text.splitlines()}
families = list(text_string_to_metric_families(text))
for family in families:
    assert family.name not in seen, f"{family.name} stands twice"
    seen.add(family.name)
    assert family.documentation, f"{family.name} has no help"
    series = {}
    for sample in family.samples:
        labels = {k: v for k, v in sample.labels.items() if k != "le"}
        key = json.dumps([sample.name, sample.labels], sort_keys=True)
        assert key not in seen, f"{key} stands twice"
        seen.add(key)
        if family.type == "histogram":
            series.setdefault(json.dumps(labels, sort_keys=True), []).append(sample)
        # The parser adds what OpenMetrics wants of a counter's name.
        name = sample.name if sample.name in written else sample.name.removesuffix("_total")
        print(json.dumps([family.name, family.type, name, sample.labels, sample.value]))
    for labels, samples in series.items():
        buckets = [s.value for s in samples if s.name.endswith("_bucket")]
        count = [s.value for s in samples if s.name.endswith("_count")]
        assert buckets == sorted(buckets) and buckets[-1:] == count, f"{family.name}{labels}: {buckets}, {count}"
        assert len([s for s in samples if s.name.endswith("_sum")]) == 1, f"{family.name}{labels} has no sum"
