import Glibc
import Kernel
import ProxyResources
import Testing
import Wire

@testable import Proxy

@Suite struct MetricsTests {
    @Test("fine histograms that are added up are the histogram of all; quantiles are near")
    func fineHistograms() throws {
        var chance: UInt64 = 7
        var all: [UInt64] = []
        var parts = [FineHistogram(), FineHistogram(), FineHistogram()]
        var whole = FineHistogram()
        for place in 0..<30_000 {
            chance = chance &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let value = 20_000 + (chance >> 33) % 50_000_000
            all.append(value)
            parts[place % 3].add(value)
            whole.add(value)
        }
        var merged = FineHistogram()
        for part in parts { merged.add(part) }
        for step in 0..<FineHistogram.steps { #expect(merged.counts[step] == whole.counts[step]) }
        all.sort()
        for share in [0.5, 0.9, 0.99] {
            let exact = Double(all[Int(share * Double(all.count))])
            let found = try #require(merged.quantile(share))
            #expect(abs(found - exact) / exact < 0.13, "\(share): \(found) for \(exact)")
        }
        #expect(FineHistogram().quantile(0.5) == nil)
    }

    @Test(
        "a duration falls into the step whose bounds hold it",
        arguments: [0, 1, 16_383, 16_384, 999_999, 1 << 40, .max])
    func steps(value: UInt64) {
        let step = FineHistogram.step(of: value)
        #expect(FineHistogram.floor(of: step) <= value)
        if step + 1 < FineHistogram.steps { #expect(value < FineHistogram.floor(of: step + 1)) }
    }

    private func key(_ number: Int, _ kind: SeriesKey.Kind = .http) -> SeriesKey {
        SeriesKey(
            kind: kind, isDestination: false, peer: UInt32(number), service: 1, security: .none, flag: .none,
            status: 200)
    }

    @Test("series beyond the table's room are counted as overflow, by kind")
    func overflow() {
        var table = SeriesTable(capacity: 16)
        for number in 0..<40 {
            _ = table.countRequest(key(number), nanoseconds: 1, requestBytes: 1, responseBytes: 1)
        }
        _ = table.opened(key(99, .tcp))
        let series = table.copy(from: 0, most: 100).series
        #expect(series.count == 15)
        #expect(series.first { $0.key == .overflow(.http) }?.count == 27)
        #expect(series.first { $0.key == .overflow(.tcp) }?.count == 1)
        #expect(series.reduce(0) { $0 + $1.count } == 41)
        let text = String(
            decoding: MetricsText.render(
                [(series: series, counts: LoopCounts())], labels: LabelBook(), workload: workload("a")), as: UTF8.self)
        #expect(text.contains("istio_requests_total{source_workload=\"overflow\""))
    }

    @Test("series nobody adds to go after an hour, the others are still found; open tunnels stay")
    func expiry() {
        var table = SeriesTable(capacity: 1024)
        for number in 0..<500 {
            _ = table.countRequest(key(number), nanoseconds: 1, requestBytes: 1, responseBytes: 1, now: 1)
        }
        let open = table.opened(key(7, .tcp), now: 1)
        for number in stride(from: 0, to: 500, by: 7) {
            _ = table.countRequest(
                key(number), nanoseconds: 1, requestBytes: 1, responseBytes: 1, now: SeriesTable.stale)
        }
        for _ in 0..<8 { table.expire(now: SeriesTable.stale + 10) }
        #expect(table.count == 73)
        for number in 0..<500 {
            let place = table.countRequest(
                key(number), nanoseconds: 1, requestBytes: 1, responseBytes: 1, now: SeriesTable.stale)
            let found = table.copy(from: place, most: 1).series[0]
            #expect(found.key == key(number))
            #expect(found.count == (number % 7 == 0 ? 3 : 1))
        }
        #expect(table.place(of: key(7, .tcp)) == Int(open))
        #expect(table.count == 501)
    }

    @Test("gzip is unpacked by others to what was packed", arguments: [0, 1, 5, 100, 70_000])
    func gzip(size: Int) throws {
        var bytes = Array(String(repeating: "istio_requests_total{reporter=\"source\"} 17\n", count: size / 40).utf8)
        for place in 0..<size { bytes.append(UInt8(truncatingIfNeeded: place &* place >> 3)) }
        let path = "/tmp/weft-gzip-\(getpid())-\(size)"
        try SmallFile.replace(path, with: Gzip.packed(bytes))
        defer { unlink(path) }
        #expect(try Reader.run("gunzip \(path) | sha256sum") == Reader.run("gunzip \(path) | sha256sum"))
        try SmallFile.replace(path + ".plain", with: bytes)
        defer { unlink(path + ".plain") }
        #expect(try Reader.run("gunzip \(path) | cmp - \(path).plain && echo same") == "same\n")
        if size == 70_000 {
            let text = Array(String(repeating: "istio_requests_total{reporter=\"source\"} 17\n", count: 1000).utf8)
            #expect(Gzip.packed(text).count < text.count / 20)
        }
    }

    @Test(
        "a scrape is read by Prometheus' own parsers, as text and as OpenMetrics, packed and not",
        arguments: ["text", "openmetrics", "text gzip", "openmetrics gzip"])
    func scrape(form: String) throws {
        let seen = try SeenGateway(loops: 2) { $0.workload.telemetry.tracing = Tracing(samplePercent: 100) }
        let visitor = Visitor(port: seen.gateway.port)
        for _ in 0..<5 { #expect(visitor.get("/name")?.status == 200) }
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
        #expect(visitor.get("/name", "traceparent: 00-\(trace)-00f067aa0ba902b7-01\r\n")?.status == 200)
        visitor.end()
        let found = try Reader.json("metrics http://127.0.0.1:\(seen.adminPort)/stats/prometheus \(form)")
        let samples = found["samples"]?.array ?? []
        func values(_ name: String) -> [JSON] { samples.filter { $0["name"]?.string == name } }
        let requests = values("istio_requests_total")
        #expect(requests.count == 1 && requests.first?["value"]?.double == 6)
        let labels = requests.first?["labels"]
        let wanted = [
            "reporter": "source", "source_workload": "frontend", "source_workload_namespace": "demo",
            "source_principal": TestAuthority.principal("frontend"), "source_app": "frontend", "source_version": "v1",
            "source_canonical_service": "frontend", "source_canonical_revision": "v1",
            "destination_workload": "catalog", "destination_workload_namespace": "demo",
            "destination_principal": "unknown", "destination_app": "catalog", "destination_version": "v1",
            "destination_canonical_service": "catalog", "destination_canonical_revision": "v1",
            "destination_service": "origin.demo.svc.cluster.local", "destination_service_name": "origin",
            "destination_service_namespace": "demo", "request_protocol": "http", "response_code": "200",
            "response_flags": "-", "connection_security_policy": "none",
        ]
        for (name, value) in wanted { #expect(labels?[name]?.string == value, "\(name)") }
        let buckets = values("istio_request_duration_milliseconds_bucket")
        #expect(buckets.count == 20)
        #expect(buckets.last?["value"]?.double == 6)
        for name in [
            "weft_proxy_client_connections", "weft_proxy_loop_turn_seconds_count", "weft_proxy_buffer_bytes",
        ] {
            #expect(values(name).count == 2, "\(name)")
        }
        #expect(values("weft_proxy_tls_handshakes_total").count == 2)
        if form.hasPrefix("openmetrics") {
            let exemplars = buckets.compactMap { $0["exemplar"]?["labels"]?["trace_id"]?.string }
            #expect(exemplars == [trace])
            #expect(found["headers"]?["content-type"]?.string?.hasPrefix("application/openmetrics-text") == true)
        }
        #expect((found["headers"]?["content-encoding"]?.string == "gzip") == form.hasSuffix("gzip"))
        seen.end()
    }

    @Test("labels and metrics that settings take away are not shown, and what becomes equal is added up")
    func overrides() throws {
        let seen = try SeenGateway {
            $0.workload.telemetry.metrics.changes = [
                MetricSettings.Change(
                    metric: "istio_requests_total", removedLabels: ["response_code", "response_flags"]),
                MetricSettings.Change(metric: "istio_request_bytes", side: .client, isDisabled: true),
                MetricSettings.Change(setLabels: [HeaderValue(name: "team", value: "blue")]),
            ]
        }
        let visitor = Visitor(port: seen.gateway.port)
        #expect(visitor.get("/name")?.status == 200)
        // A second outcome: no origin any more.
        seen.origin.stop()
        visitor.end()
        let other = Visitor(port: seen.gateway.port)
        _ = other.get("/name")
        other.end()
        let text = seen.admin("/stats/prometheus")
        let lines = text.split(separator: "\n").filter { $0.hasPrefix("istio_requests_total{") }
        #expect(lines.count <= 2 && !lines.isEmpty)
        #expect(lines.allSatisfy { !$0.contains("response_code") && $0.contains("team=\"blue\"") })
        #expect(!text.contains("istio_request_bytes_bucket"))
        #expect(text.contains("istio_response_bytes_bucket"))
        seen.gateway.plane.stop()
    }
}
