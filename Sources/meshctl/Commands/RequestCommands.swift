import ArgumentParser
import KubeClient
import KubeTypes
import Wire

struct Tap: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show requests as they happen, as the proxies see them.",
        discussion: """
            A request between two pods with proxies is seen twice: outbound by the caller's, inbound by the server's.

            EXAMPLES
              meshctl tap deploy/frontend -n demo
              meshctl tap deploy/frontend -n demo --status 5xx
              meshctl tap -n demo --path /products --side inbound
              meshctl tap -n demo --failed -o json
            """)

    @OptionGroup var target: TargetOptions
    @OptionGroup var format: OutputOptions
    @Argument(help: "deploy/NAME, pod/NAME or a name; all of the namespace when left out.")
    var workload = ""
    @Option(help: "Only these answers: 404, 5xx, 400-499 or >=500.")
    var status = ""
    @Option(help: "Only paths that begin so.")
    var path = ""
    @Option(help: "Only this method.")
    var method = ""
    @Option(help: "Only hosts that begin so.")
    var host = ""
    @Option(help: "Only requests of this workload.")
    var source = ""
    @Option(help: "Only one side: inbound, outbound or gateway.")
    var side = ""
    @Option(help: "Only what took at least so many milliseconds.")
    var slow = ""
    @Flag(help: "Only what failed.")
    var failed = false
    @Option(help: "End after so many seconds; 0 goes on until interrupted.")
    var seconds = 0
    @Option(help: "End after so many requests; 0 for no limit.")
    var limit = 0

    func run() async throws {
        let api = try target.connect()
        let members = [
            ("namespace", target.namespaceOrAll), ("target", workload), ("status", status), ("path", path),
            ("method", method), ("host", host), ("source", source), ("side", side), ("slow", slow),
            ("failed", failed ? "true" : ""), ("seconds", "2"),
        ]
        // Windows overlap, so that nothing falls between them; what two of them saw is shown once.
        let end = ContinuousClock.now + .seconds(seconds == 0 ? 1 << 30 : seconds)
        var seen = SeenRecords()
        var count = 0
        try await withThrowingTaskGroup(of: [RequestRecord].self) { windows in
            windows.addTask { try await api.records("tap", members) }
            try await Task.sleep(for: .seconds(1))
            windows.addTask { try await api.records("tap", members) }
            while let records = try await windows.next() {
                for record in records.sorted(by: { $0.started < $1.started }) where seen.isNew(record) {
                    show(record)
                    count += 1
                    if limit > 0 && count >= limit {
                        windows.cancelAll()
                        return
                    }
                }
                if ContinuousClock.now >= end { continue }
                windows.addTask { try await api.records("tap", members) }
            }
        }
    }

    private func show(_ record: RequestRecord) {
        if format.output == .json || format.output == .yaml {
            print(record.json.text)
            return
        }
        let outcome = record.hasFailed ? Terminal.red(record.outcome) : record.outcome
        print(
            "\(record.time) \(record.side) \(record.source) -> \(record.destination) \(record.request) \(outcome) "
                + "\(decimal(record.milliseconds, places: 1))ms id=\(record.requestID)")
    }
}

/// Records of the last windows; bounded.
private struct SeenRecords {
    private var newest: Set<String> = []
    private var older: Set<String> = []

    mutating func isNew(_ record: RequestRecord) -> Bool {
        if older.contains(record.identity) || !newest.insert(record.identity).inserted { return false }
        if newest.count >= 50_000 {
            older = newest
            newest = []
        }
        return true
    }
}

struct Explain: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "What happened to a request, hop by hop; or what would become of one.",
        discussion: """
            A request's number is its x-request-id header, which the first proxy gives it; failed answers of proxies carry it too. \
            Proxies keep every failed request for a while, and a sample of the others.

            EXAMPLES
              meshctl explain 0e5d2f5c-7d1e-4b43-9a55-8d0b6f1a9d11
              meshctl explain --failed -n demo
              meshctl explain --from deploy/frontend -n demo --to catalog:8080/products
              meshctl explain --from deploy/frontend -n demo --to catalog:8080/admin \\
                  --method POST --header x-user:anna
            """)

    @OptionGroup var target: TargetOptions
    @OptionGroup var format: OutputOptions
    @Argument(help: "The request's number.")
    var requestID = ""
    @Flag(help: "The newest failed request.")
    var failed = false
    @Option(help: "What if: the pod or workload that asks.")
    var from = ""
    @Option(help: "What if: HOST[:PORT]/PATH.")
    var to = ""
    @Option(help: "What if: the method.")
    var method = "GET"
    @Option(help: "What if: NAME:VALUE, any number of times.")
    var header: [String] = []

    func validate() throws {
        let isWhatIf = !from.isEmpty || !to.isEmpty
        if isWhatIf && (from.isEmpty || to.isEmpty) { throw ValidationError("--from and --to belong together") }
        if [isWhatIf, failed, !requestID.isEmpty].count(where: { $0 }) != 1 {
            throw ValidationError("name a request, or ask for --failed, or for a way with --from and --to")
        }
    }

    func run() async throws {
        let api = try target.connect()
        if !from.isEmpty {
            try await wayOf(api)
            return
        }
        var wanted = requestID
        if failed {
            let newest = try await api.records(
                "requests", [("namespace", target.namespaceOrAll), ("failed", "true"), ("last", "20")]
            ).max { $0.started < $1.started }
            guard let newest else { throw CommandFailure("no proxy has kept a failed request") }
            wanted = newest.requestID
        }
        let journey = RequestJourney(try await api.records("requests", [("id", wanted), ("last", "100")]))
        if journey.hops.isEmpty {
            throw CommandFailure(
                "no proxy has kept request \(wanted): it succeeded and was not in the sample, or it was long ago")
        }
        switch format.output {
        case .json, .yaml: try printStructured(["items": .array(journey.hops.map(\.json))], format.output)
        default: print(journey.text)
        }
    }

    private func wayOf(_ api: APIConnection) async throws {
        let slash = to.firstIndex(of: "/") ?? to.endIndex
        var members = [
            ("namespace", target.namespaceOrDefault), ("from", from), ("host", String(to[..<slash])),
            ("path", slash == to.endIndex ? "/" : String(to[slash...])), ("method", method),
        ]
        members += header.map { ("header", $0) }
        let query = members.map { "\($0.0)=\(percentEncoded($0.1))" }.joined(separator: "&")
        let answer = try await api.json("GET", "/apis/weft.dev/v1/explain?\(query)")
        switch format.output {
        case .json, .yaml: try printStructured(answer, format.output)
        default: print(RequestWay(answer).text)
        }
    }
}
