import KubeTypes
import MeshModel
import ProxyResources
import Testing

@Suite struct TelemetryTests {
    private static func policy(_ name: String, _ namespace: String, _ spec: String, _ annotations: String = "{}")
        -> String
    {
        """
        apiVersion: telemetry.istio.io/v1
        kind: Telemetry
        metadata: {name: \(name), namespace: \(namespace), annotations: \(annotations)}
        spec: \(spec)
        """
    }

    private func compiled(_ policies: [String]) throws -> (model: MeshModel, catalog: Telemetry, frontend: Telemetry) {
        var cluster = try Cluster.canary()
        for policy in policies { try cluster.apply(policy) }
        let model = compile(cluster.state)
        let catalog = try #require(model.workloads[ObjectKey(namespace: "demo", name: "catalog-v1-x")]?.telemetry)
        let frontend = try #require(model.workloads[ObjectKey(namespace: "demo", name: "frontend-x")]?.telemetry)
        return (model, catalog, frontend)
    }

    @Test("without a policy nothing is told but metrics")
    func nothing() throws { #expect(try compiled([]).catalog == Telemetry()) }

    @Test("tracing is the mesh's, changed by the namespace's and the workload's")
    func tracing() throws {
        let (model, catalog, frontend) = try compiled([
            Self.policy(
                "mesh", "istio-system",
                "{tracing: [{providers: [{name: \"10.0.0.9:4318\"}], randomSamplingPercentage: 10, customTags: {zone: {literal: {value: z1}}, who: {header: {name: X-Who, defaultValue: nobody}}}}]}"
            ),
            Self.policy("space", "demo", "{tracing: [{randomSamplingPercentage: 50}]}"),
            Self.policy(
                "own", "demo",
                "{selector: {matchLabels: {app: catalog}}, tracing: [{disableSpanReporting: true}]}"),
        ])
        #expect(model.findings == [])
        #expect(frontend.tracing?.samplePercent == 50 && frontend.tracing?.collector == "10.0.0.9:4318")
        #expect(
            frontend.tracing?.tags == [
                TraceTag(name: "who", text: "nobody", header: "x-who"), TraceTag(name: "zone", text: "z1"),
            ])
        #expect(frontend.tracing?.isDisabled == false && catalog.tracing?.isDisabled == true)
    }

    @Test("a collector is found by its service; one that is not there is told")
    func collectors() throws {
        let (model, _, frontend) = try compiled([
            Self.policy("a", "demo", "{tracing: [{providers: [{name: \"catalog.demo:8080\"}]}]}")
        ])
        #expect(model.findings == [])
        #expect(frontend.tracing?.collector.hasSuffix(":8080") == true)
        let (other, _, _) = try compiled([
            Self.policy("a", "demo", "{tracing: [{providers: [{name: zipkin}]}]}")
        ])
        #expect(other.findings.map(\.field) == ["spec.tracing[0].providers"])
        #expect(other.findings.first?.message.contains("service.namespace:port") == true)
    }

    @Test("access logs: the nearest policy's, with Istio's filter, ours for format and share")
    func logs() throws {
        let (model, catalog, frontend) = try compiled([
            Self.policy("mesh", "weft-system", "{accessLogging: [{providers: [{name: envoy}]}]}"),
            Self.policy(
                "own", "demo",
                "{selector: {matchLabels: {app: catalog}}, accessLogging: [{match: {mode: SERVER}, providers: [{name: json}], filter: {expression: \"response.code >= 400 && response.duration > duration('250ms')\"}}]}",
                "{weft.dev/access-log-sample-percent: \"25\"}"),
        ])
        #expect(model.findings == [])
        #expect(frontend.accessLogs == [AccessLog()])
        let log = try #require(catalog.accessLogs.first)
        #expect(log.side == .server && log.samplePercent == 25 && log.text.isEmpty && log.fields.count == 20)
        #expect(log.filter == AccessLogFilter(statusAtLeast: 400, durationAtLeastMilliseconds: 250))
    }

    @Test(
        "what cannot be carried out is told by its field",
        arguments: [
            (
                "{accessLogging: [{filter: {expression: \"connection.mtls\"}}]}", "{}",
                "spec.accessLogging[0].filter.expression"
            ),
            ("{accessLogging: [{providers: [{name: stackdriver}]}]}", "{}", "spec.accessLogging[0].providers[0].name"),
            (
                "{accessLogging: [{}]}", "{weft.dev/access-log-format: \"%NOPE%\"}",
                "metadata.annotations.weft.dev/access-log-format"
            ),
            (
                "{accessLogging: [{}]}", "{weft.dev/access-log-sample-percent: \"x\"}",
                "metadata.annotations.weft.dev/access-log-sample-percent"
            ),
            ("{metrics: [{overrides: [{match: {metric: SOME}}]}]}", "{}", "spec.metrics[0].overrides[0].match.metric"),
            (
                "{metrics: [{overrides: [{tagOverrides: {a: {value: request.host}}}]}]}", "{}",
                "spec.metrics[0].overrides[0].tagOverrides.a.value"
            ),
            ("{tracing: [{useRequestIdForTraceSampling: true}]}", "{}", "spec.tracing[0].useRequestIdForTraceSampling"),
            ("{tracing: [{match: {mode: SIDEWAYS}}]}", "{}", "spec.tracing[0].match.mode"),
        ])
    func findings(spec: String, annotations: String, field: String) throws {
        let found = try compiled([Self.policy("a", "demo", spec, annotations)]).model.findings
        #expect(found.map(\.field) == [field], "\(found)")
    }

    @Test("metrics: Istio's names become the proxy's, tags are removed and set")
    func metrics() throws {
        let spec =
            "{metrics: [{providers: [{name: prometheus}], overrides: [{match: {metric: REQUEST_COUNT, mode: CLIENT}, tagOverrides: {response_flags: {operation: REMOVE}, team: {value: \"'blue'\"}}}, {match: {metric: REQUEST_SIZE}, disabled: true}]}]}"
        let (model, catalog, _) = try compiled([Self.policy("a", "demo", spec)])
        #expect(model.findings == [])
        #expect(
            catalog.metrics.changes == [
                MetricSettings.Change(
                    metric: "istio_requests_total", side: .client, removedLabels: ["response_flags"],
                    setLabels: [HeaderValue(name: "team", value: "blue")]),
                MetricSettings.Change(metric: "istio_request_bytes", isDisabled: true),
            ])
    }

    @Test("of two policies for one namespace the older is in force")
    func twice() throws {
        let (model, catalog, _) = try compiled([
            Self.policy("first", "demo", "{accessLogging: [{providers: [{name: envoy}]}]}"),
            Self.policy("second", "demo", "{accessLogging: [{disabled: true}]}"),
        ])
        #expect(catalog.accessLogs.count == 1)
        #expect(model.findings.map(\.object.key.name) == ["second"])
    }

    @Test("settings survive their way to the proxy")
    func roundTrip() throws {
        let spec =
            "{accessLogging: [{providers: [{name: json}]}], tracing: [{providers: [{name: \"10.0.0.9:4318\"}], randomSamplingPercentage: 12.5, customTags: {a: {header: {name: b}}}}], metrics: [{overrides: [{disabled: false, tagOverrides: {x: {operation: REMOVE}}}]}]}"
        let model = try compiled([Self.policy("a", "demo", spec)]).model
        let workload = try #require(model.workloads[ObjectKey(namespace: "demo", name: "frontend-x")])
        #expect(try Workload(json: workload.json) == workload)
    }
}
