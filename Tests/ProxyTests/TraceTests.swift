import ProxyResources
import Testing

@testable import Proxy

@Suite struct TraceTests {
    private func parent(_ text: String) -> TraceContext? {
        let bytes = Array(text.utf8)
        return bytes.withUnsafeBufferPointer { $0.baseAddress.flatMap { TraceContext.parent($0, bytes.count) } }
    }
    private func b3(_ text: String) -> TraceContext? {
        let bytes = Array(text.utf8)
        return bytes.withUnsafeBufferPointer { $0.baseAddress.flatMap { TraceContext.b3($0, bytes.count) } }
    }

    static let trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    static let span = "00f067aa0ba902b7"

    @Test("a traceparent is read as W3C Trace Context says")
    func readsParent() {
        let wanted = TraceContext(
            high: 0x4bf9_2f35_77b3_4da6, low: 0xa3ce_929d_0e0e_4736, span: 0x00f0_67aa_0ba9_02b7, isSampled: true)
        #expect(parent("00-\(Self.trace)-\(Self.span)-01") == wanted)
        #expect(parent("00-\(Self.trace)-\(Self.span)-00")?.isSampled == false)
        #expect(parent("cc-\(Self.trace)-\(Self.span)-01-what the future brings") == wanted)
    }

    @Test(
        "a traceparent that is not one says nothing",
        arguments: [
            "", "00", "00-\(trace)-\(span)", "ff-\(trace)-\(span)-01", "00-\(trace)-\(span)-01-more",
            "00-\(trace.uppercased())-\(span)-01", "00-00000000000000000000000000000000-\(span)-01",
            "00-\(trace)-0000000000000000-01", "00_\(trace)-\(span)-01", "0g-\(trace)-\(span)-01",
            "cc-\(trace)-\(span)-01.more", "00-\(trace)-\(span)-0x",
        ])
    func refusesParent(text: String) { #expect(parent(text) == nil) }

    @Test("B3 in one header is read with 16 and 32 digits, with and without a decision, and a decision alone")
    func readsB3() {
        #expect(b3("\(Self.trace)-\(Self.span)-1")?.isSampled == true)
        #expect(b3("\(Self.trace)-\(Self.span)-d-\(Self.span)")?.isSampled == true)
        #expect(
            b3("a3ce929d0e0e4736-\(Self.span)") == TraceContext(low: 0xa3ce_929d_0e0e_4736, span: 0xf0_67aa_0ba9_02b7))
        #expect(b3("0") == TraceContext(isSampled: false))
        for text in [
            "", "x", "-", "\(Self.trace)", "\(Self.trace)-", "\(Self.trace)-\(Self.span)-", "1-2-3",
            "\(Self.trace)-\(Self.span)-1-", "\(Self.trace)-\(Self.span)-2", "\(Self.trace)-0000000000000000-1",
        ] {
            #expect(b3(text) == nil, "\(text)")
        }
    }

    /// A gateway that traces, and what reached the origin of a request with these headers.
    private func forwarded(_ headers: String, _ tracing: Tracing?) throws -> String {
        let origin = Origin()
        let gateway = try TestGateway()
        var configuration = gateway.configuration(
            [rule([("origin", 1)])], [backend("origin", [endpoint(Int(origin.port))])])
        configuration.workload.telemetry.tracing = tracing
        let generation = try gateway.plane.apply(configuration, identity: nil)
        #expect(eventually { gateway.plane.collect().allSatisfy { $0.counts.generation == generation } })
        let visitor = Visitor(port: gateway.port)
        #expect(visitor.get("/name", headers)?.status == 200)
        visitor.end()
        gateway.plane.stop()
        origin.stop()
        return origin.lastHead
    }

    @Test("a W3C trace goes on with a span of ours, its decision and its state kept")
    func continuesW3C() throws {
        let head = try forwarded(
            "traceparent: 00-\(Self.trace)-\(Self.span)-01\r\ntracestate: a=b\r\n", Tracing(samplePercent: 0))
        let parts = header("traceparent", head)?.split(separator: "-").map(String.init) ?? []
        #expect(parts.count == 4)
        #expect(parts[1] == Self.trace)
        #expect(parts[2] != Self.span)
        #expect(parts[3] == "01")
        #expect(header("tracestate", head) == "a=b")
    }

    @Test("a bad traceparent is replaced by a new trace, and its state dropped")
    func replacesBad() throws {
        let head = try forwarded(
            "traceparent: 00-zz-\(Self.span)-01\r\ntracestate: a=b\r\n", Tracing(samplePercent: 0))
        #expect(header("traceparent", head)?.hasSuffix("-00") == true)
        #expect(header("traceparent", head)?.contains("zz") == false)
        #expect(header("tracestate", head) == nil)
    }

    @Test("two traceparents say nothing: a new trace begins")
    func twoParents() throws {
        let line = "traceparent: 00-\(Self.trace)-\(Self.span)-01\r\n"
        let head = try forwarded(line + line, Tracing(samplePercent: 100))
        #expect(head.components(separatedBy: "traceparent").count == 2)
        #expect(!head.contains(Self.trace))
        #expect(header("traceparent", head)?.hasSuffix("-01") == true)
    }

    @Test("B3 goes on in the form it came in")
    func continuesB3() throws {
        var head = try forwarded("b3: \(Self.trace)-\(Self.span)-1\r\n", Tracing())
        let parts = header("b3", head)?.split(separator: "-").map(String.init) ?? []
        #expect(parts.first == Self.trace)
        #expect(parts.count == 4 && parts[1] != Self.span && parts[2] == "1")
        head = try forwarded(
            "X-B3-TraceId: \(Self.trace)\r\nX-B3-SpanId: \(Self.span)\r\nX-B3-Sampled: 0\r\n",
            Tracing(samplePercent: 100))
        #expect(header("x-b3-traceid", head) == Self.trace)
        #expect(header("x-b3-spanid", head)?.count == 16 && header("x-b3-spanid", head) != Self.span)
        #expect(header("x-b3-sampled", head) == "0")
        #expect(header("traceparent", head) == nil)
    }

    @Test("without tracing the caller's context passes unchanged, and none is made")
    func passesOn() throws {
        let line = "traceparent: 00-\(Self.trace)-\(Self.span)-01"
        #expect(try forwarded(line + "\r\n", nil).contains(line))
        #expect(header("traceparent", try forwarded("", nil)) == nil)
        #expect(header("traceparent", try forwarded("", Tracing(samplePercent: 100)))?.hasSuffix("-01") == true)
        let b3 = try forwarded("", Tracing(samplePercent: 100, propagation: .b3))
        #expect(header("b3", b3)?.split(separator: "-").count == 4)
    }
}

extension String {
    fileprivate func components(separatedBy word: String) -> [Substring] {
        var parts: [Substring] = []
        var rest = self[...]
        while let range = rest.firstRange(of: word) {
            parts.append(rest[..<range.lowerBound])
            rest = rest[range.upperBound...]
        }
        return parts + [rest]
    }
}
