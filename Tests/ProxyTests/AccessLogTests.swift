import Glibc
import Kernel
import ProxyResources
import Testing
import Wire

@testable import Proxy

@Suite struct AccessLogTests {
    @Test("a format is read into its operators")
    func reads() throws {
        let format = try AccessLogFormat("a%%b %REQ(X-A?:PATH):5% %START_TIME(%Y-%m)% %RESPONSE_CODE%")
        #expect(
            format.parts == [
                .text("a%b "), .value(.request("x-a", or: ":path"), limit: 5), .text(" "),
                .value(.startTime("%Y-%m"), limit: .max), .text(" "), .value(.named(.responseCode), limit: .max),
            ])
        #expect(format.headers.requests == ["x-a"])
        _ = try AccessLogFormat(AccessLogFormat.usual)
    }

    @Test(
        "a format that is not one is refused with the operator",
        arguments: [
            ("%NO_SUCH%", "NO_SUCH"), ("%RESPONSE_CODE", "does not end"), ("%REQ()%", "names no header"),
            ("%REQ(X):0%", "length"), ("%REQ(X)y%", "length"), ("%REQ%", "names no header"),
        ])
    func refuses(text: String, word: String) {
        do {
            _ = try AccessLogFormat(text)
            Issue.record("\(text) was taken")
        } catch { #expect(error.message.contains(word), "\(error.message)") }
    }

    @Test("times are written as the format says")
    func times() {
        let moment: UInt64 = 1_700_000_000_123_456_789
        #expect(WallTime.text(moment) == "2023-11-14T22:13:20.123Z")
        #expect(WallTime.text(moment, format: "%Y/%m/%d %s.%3f %9f") == "2023/11/14 1700000000.123 123456789")
    }

    private func log(_ logs: [AccessLog], _ visit: (SeenGateway) -> Void) throws {
        let seen = try SeenGateway { $0.workload.telemetry.accessLogs = logs }
        visit(seen)
        seen.end()
    }

    private func lines(_ path: String) -> [String] {
        guard let bytes = try? SmallFile.read(path) else { return [] }
        return String(decoding: bytes, as: UTF8.self).split(separator: "\n").map(String.init)
    }

    @Test("lines of text and of JSON are written, each log by its own filter")
    func writes() throws {
        let path = "/tmp/weft-access-\(getpid())"
        defer { for end in ["text", "json", "errors"] { unlink("\(path)-\(end)") } }
        let text =
            "%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% %REQ(X-COLOUR):3% %REQ(X-NONE)% %RESP(X-ORIGIN)% %UPSTREAM_HOST% %ROUTE_NAME%"
        let fields = [
            AccessLogField(name: "code", text: "%RESPONSE_CODE%"),
            AccessLogField(name: "line", text: "%REQ(:METHOD)% %REQ(X-REQUEST-ID)%"),
            AccessLogField(name: "nothing", text: "%REQ(X-NONE)%"),
            AccessLogField(name: "service", text: "%UPSTREAM_CLUSTER%"),
        ]
        var port = 0
        try log([
            AccessLog(file: "\(path)-text", text: text), AccessLog(file: "\(path)-json", fields: fields),
            AccessLog(file: "\(path)-errors", filter: AccessLogFilter(errorsOnly: true)),
            AccessLog(file: "\(path)-server", side: .server),
        ]) { seen in
            port = Int(seen.origin.port)
            let visitor = Visitor(port: seen.gateway.port)
            _ = visitor.get("/name?a=b", "x-colour: green\r\nx-request-id: \"quoted\"\r\n")
            _ = visitor.send("GET / HTTP/1.1\r\nhost: t\r\nhost: t\r\n\r\n")
            _ = visitor.response()
            visitor.end()
        }
        let plain = lines("\(path)-text")
        #expect(plain.first == "GET /name?a=b HTTP/1.1 200 - gre - origin 127.0.0.1:\(port) HTTPRoute demo/all rule 0")
        let json = try JSON(parsing: lines("\(path)-json").first ?? "")
        #expect(json["code"]?.int == 200 && json["line"]?.string == "GET \"quoted\"")
        #expect(json["nothing"]?.isNull == true)
        #expect(json["service"]?.string == "outbound||origin.demo.svc.cluster.local")
        let errors = lines("\(path)-errors")
        #expect(errors.count == 1 && errors.first?.contains(" 400 DPE ") == true, "\(errors)")
        #expect(lines("\(path)-server").isEmpty)
    }

    @Test("of a sampled log a share is written, and a log that was moved away is begun anew")
    func samples() throws {
        let path = "/tmp/weft-sampled-\(getpid())"
        defer { unlink(path) }
        try log([AccessLog(file: path, text: "%RESPONSE_CODE%", samplePercent: 50)]) { seen in
            let visitor = Visitor(port: seen.gateway.port)
            for _ in 0..<400 { _ = visitor.get("/name") }
            visitor.end()
        }
        #expect((100...300).contains(lines(path).count), "\(lines(path).count)")
    }

    @Test("a reader that does not read loses lines, and they are counted")
    func slowReader() throws {
        let path = "/tmp/weft-fifo-\(getpid())"
        unlink(path)
        #expect(mkfifo(path, 0o600) == 0)
        defer { unlink(path) }
        let reader = open(path, O_RDONLY | O_NONBLOCK)
        defer { close(reader) }
        var sink = LogSink(path: path)
        let line = String(repeating: "x", count: 999) + "\n"
        for _ in 0..<3000 {
            sink.append(line)
            sink.flush(now: 1)
        }
        #expect(sink.lost > 0)
        sink.close()
    }

    @Test("settings that cannot be followed are refused by name")
    func refusesSettings() {
        func fault(_ telemetry: Telemetry) -> String {
            do throws(ResourceFault) {
                _ = try TelemetryPlan(telemetry, number: 1)
                return ""
            } catch { return "\(error)" }
        }
        #expect(
            fault(Telemetry(accessLogs: [AccessLog(text: "%WHAT%")]))
                == "Workload self: telemetry.accessLogs[0].text: %WHAT% is not an operator this proxy knows")
        #expect(
            fault(Telemetry(accessLogs: [AccessLog(filter: AccessLogFilter(flags: ["ZZ"]))])).contains("\"ZZ\""))
        let many = (0..<20).map { "%REQ(x-\($0))%" }.joined()
        #expect(fault(Telemetry(accessLogs: [AccessLog(text: many)])).contains("20 headers"))
    }
}
