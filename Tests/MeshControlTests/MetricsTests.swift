import MeshControl
import Testing

@Suite struct MetricsTests {
    static let text = #"""
        # HELP istio_requests_total Requests.
        # TYPE istio_requests_total counter
        istio_requests_total{reporter="source",source_workload="frontend",source_workload_namespace="demo",destination_workload="catalog-v1",destination_workload_namespace="demo",destination_service="catalog.demo.svc.cluster.local",destination_version="v1",response_code="200",connection_security_policy="mutual_tls"} 90
        istio_requests_total{reporter="source",source_workload="frontend",source_workload_namespace="demo",destination_workload="catalog-v1",destination_workload_namespace="demo",destination_service="catalog.demo.svc.cluster.local",destination_version="v1",response_code="503",connection_security_policy="mutual_tls"} 10 1700000000000
        istio_request_duration_milliseconds_bucket{reporter="source",source_workload="frontend",source_workload_namespace="demo",destination_workload="catalog-v1",destination_workload_namespace="demo",destination_service="catalog.demo.svc.cluster.local",destination_version="v1",connection_security_policy="mutual_tls",le="1"} 50
        istio_request_duration_milliseconds_bucket{reporter="source",source_workload="frontend",source_workload_namespace="demo",destination_workload="catalog-v1",destination_workload_namespace="demo",destination_service="catalog.demo.svc.cluster.local",destination_version="v1",connection_security_policy="mutual_tls",le="5"} 90
        istio_request_duration_milliseconds_bucket{reporter="source",source_workload="frontend",source_workload_namespace="demo",destination_workload="catalog-v1",destination_workload_namespace="demo",destination_service="catalog.demo.svc.cluster.local",destination_version="v1",connection_security_policy="mutual_tls",le="+Inf"} 100
        istio_request_duration_milliseconds_sum{reporter="source",source_workload="frontend",source_workload_namespace="demo",destination_workload="catalog-v1",destination_workload_namespace="demo",destination_service="catalog.demo.svc.cluster.local",destination_version="v1",connection_security_policy="mutual_tls"} 412.5
        istio_tcp_sent_bytes_total{reporter="source",source_workload="odd \"name\"\\"} 7
        process_cpu_seconds_total NaN

        """#

    @Test("requests, success and percentiles of an edge come from Istio's metrics")
    func parsed() throws {
        let metrics = try IstioMetrics.parse(Self.text)
        #expect(metrics.edges.count == 2)
        let traffic = try #require(metrics.edges.first { $0.key.sourceWorkload == "frontend" }?.value)
        #expect(traffic.requests == 100)
        #expect(traffic.successRate == 0.9)
        #expect(traffic.durations.percentile(0.5) == 1)
        #expect(traffic.durations.percentile(0.7) == 3)
        #expect(traffic.durations.percentile(0.99) == 5, "above the last bound only the bound is known")
        #expect(traffic.durations.sum == 412.5)
        #expect(metrics.edges.contains { $0.key.sourceWorkload == #"odd "name"\"# && $0.value.bytesSent == 7 })
    }

    @Test("proxies are added, earlier counts taken away, and a restart does not count below zero")
    func combined() throws {
        let once = try IstioMetrics.parse(Self.text)
        var twice = once
        twice.merge(once)
        let edge = try #require(once.edges.keys.first { $0.sourceWorkload == "frontend" })
        #expect(twice.edges[edge]?.requests == 200)
        #expect(twice.since(once).edges[edge] == once.edges[edge])
        #expect(once.since(twice).edges[edge]?.requests == 100)
        let grouped = twice.grouped { _ in IstioMetrics.Edge() }
        #expect(grouped.edges.count == 1)
        #expect(IstioMetrics.Traffic().successRate == nil && IstioMetrics.Histogram().percentile(0.5) == nil)
    }

    @Test("a line that is no sample is named", arguments: ["x{", "x{a=b} 1", "x{a=\"b} 1", "x", "x y", "{a=\"b\"} 1"])
    func bad(line: String) {
        #expect { try IstioMetrics.parse("# fine\n\(line)\n") } throws: { ($0 as? MetricsFault)?.line == 2 }
    }
}
