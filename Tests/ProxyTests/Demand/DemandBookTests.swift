import ProxyResources
import Testing
import Wire

@testable import Proxy

@Suite struct DemandBookTests {
    private static let second: UInt64 = 1_000_000_000
    private var uses: [Int16: (open: Int, last: UInt64)] = [:]
    private func use(_ place: Int16) -> (open: Int, last: UInt64) { uses[place] ?? (0, 0) }

    private func book(present: Int = 4, absent: Int = 2, asked: Int = 3) -> DemandBook {
        DemandBook(DemandBook.Bounds(present: present, absent: absent, asked: asked))
    }

    @Test("a destination is asked for once, however many want it; the answer stays")
    func once() {
        var book = book()
        for _ in 0..<1000 { #expect(book.want("a:1", now: 5, use: use) == .wait) }
        #expect(book.changes() == (["a:1"], []))
        #expect(book.changes() == ([], []))
        book.settle(present: ["a:1"])
        #expect(book.want("a:1", now: 6, use: use) == .present)
        #expect(book.want("b:1", now: 6, use: use) == .wait)
        book.settle(absent: ["b:1"])
        #expect(book.want("b:1", now: 7, use: use) == .absent)
        // It came into being, and went again.
        book.settle(present: ["b:1"])
        #expect(book.want("b:1", now: 8, use: use) == .present)
        book.settle(absent: ["b:1"])
        #expect(book.want("b:1", now: 9, use: use) == .absent)
        #expect(book.changes() == (["b:1"], []))
        #expect(book.opening() == ["a:1", "b:1"], "a new stream asks for what is held and waited for")
    }

    @Test("what nobody is connected to is dropped after its time, and asked for again when it is wanted again")
    mutating func idle() {
        var book = book()
        let idle = 600 * Self.second
        for key in ["a:1", "b:1", "c:1"] { _ = book.want(key, now: 0, use: use) }
        book.settle(present: ["a:1", "b:1"])
        _ = book.changes()
        let places = book.places(of: ["a:1", "b:1"], now: 0)
        #expect(Set(places.values).count == 2)
        uses[places["a:1"] ?? -1] = (1, 0)
        uses[places["b:1"] ?? -1] = (0, 500 * Self.second)
        #expect(book.sweep(now: 59 * Self.second, idle: idle, use: use) == [])
        #expect(book.sweep(now: 700 * Self.second, idle: idle, use: use) == [], "b was used 200 s ago, a is in use")
        #expect(book.changes() == ([], ["c:1"]), "an unanswered one that nobody wants is not asked for for ever")
        #expect(book.sweep(now: 1100 * Self.second, idle: idle, use: use) == ["b:1"])
        #expect(book.changes() == ([], ["b:1"]))
        #expect(book.want("b:1", now: 1101 * Self.second, use: use) == .wait)
        #expect(book.changes() == (["b:1"], []))
        uses[places["a:1"] ?? -1] = (0, 1101 * Self.second)
        #expect(book.sweep(now: 1102 * Self.second, idle: idle, use: use) == [])
        #expect(book.sweep(now: 1702 * Self.second, idle: idle, use: use).sorted() == ["a:1"])
        #expect(book.entries.isEmpty)
    }

    @Test("one that is dropped and wanted again before the control plane was told stays asked for")
    func overtaken() {
        var book = book()
        _ = book.want("a:1", now: 0, use: use)
        book.settle(present: ["a:1"])
        _ = book.changes()
        #expect(book.sweep(now: 1000 * Self.second, idle: Self.second, use: use) == ["a:1"])
        #expect(book.places(of: ["a:1"], now: 0).isEmpty, "the configuration has it for a moment still")
        #expect(book.want("a:1", now: 1000 * Self.second, use: use) == .wait)
        #expect(book.changes() == (["a:1"], []))
    }

    @Test("answers \"not there\" are bounded in number and time")
    func absent() {
        var book = book(absent: 2)
        for (now, key) in ["a:1", "b:1", "c:1"].enumerated() {
            _ = book.want(key, now: UInt64(now), use: use)
            book.settle(absent: [key])
        }
        #expect(book.count(.absent) == 2)
        #expect(book.entries["a:1"] == nil, "the one wanted longest ago makes room")
        #expect(book.changes() == (["b:1", "c:1"], ["a:1"]))
        #expect(book.sweep(now: 59 * Self.second, idle: 1, use: use) == [])
        #expect(book.count(.absent) == 2)
        #expect(book.sweep(now: 61 * Self.second, idle: 1, use: use) == [], "they were in no configuration")
        #expect(book.entries.isEmpty)
    }

    @Test("a full book makes room by what is idle, and refuses when all is in use")
    mutating func full() {
        var book = book(present: 2, asked: 5)
        for (now, key) in ["a:1", "b:1"].enumerated() {
            _ = book.want(key, now: UInt64(now), use: use)
            book.settle(present: [key])
        }
        let places = book.places(of: ["a:1", "b:1"], now: 0)
        uses[places["a:1"] ?? -1] = (3, 0)
        #expect(book.want("c:1", now: 5 * Self.second, use: use) == .full, "b was used just now")
        #expect(book.want("c:1", now: 60 * Self.second, use: use) == .wait)
        #expect(book.takeEvicted() == ["b:1"])
        #expect(book.want("d:1", now: 60 * Self.second, use: use) == .full)
        var asking = self.book(present: 100, asked: 3)
        for key in ["a", "b", "c"] { #expect(asking.want(key, now: 0, use: use) == .wait) }
        #expect(asking.want("d", now: 0, use: use) == .full, "so many may wait for an answer")
    }

    @Test("random wishes, answers and pauses keep the book within its bounds, with a place for each")
    func random() {
        var book = book(present: 20, absent: 7, asked: 5)
        var generator = SystemRandomNumberGenerator()
        var now: UInt64 = 0
        var told: Set<String> = []
        for _ in 0..<20_000 {
            now += UInt64.random(in: 0...2, using: &generator) * Self.second
            let key = "k\(Int.random(in: 0..<60, using: &generator))"
            switch Int.random(in: 0..<5, using: &generator) {
            case 0, 1: _ = book.want(key, now: now, use: use)
            case 2: book.settle(present: [key])
            case 3: book.settle(absent: [key])
            default: _ = book.sweep(now: now, idle: 20 * Self.second, use: use)
            }
            let changes = book.changes()
            told.formUnion(changes.subscribe)
            told.subtract(changes.unsubscribe)
            #expect(told == Set(book.entries.keys))
            #expect(Set(book.entries.values.map(\.place)).count == book.entries.count)
            #expect(book.count(.absent) <= 7 && book.count(.asked) <= 5)
            #expect(book.entries.values.allSatisfy { (0..<60).contains($0.place) })
        }
    }

    // MARK: the client's side of the stream

    private func take(_ subscription: inout Subscription, _ resource: ProxyResource, _ version: String = "1") throws {
        var writer = ProtobufWriter()
        writer.message(2) {
            $0.string(1, version)
            $0.message(2) { $0.bytes(2, resource.json.bytes) }
            $0.string(3, resource.name)
        }
        writer.string(4, resource.kind.rawValue)
        writer.string(5, "n")
        guard case .accepted = subscription.take(try DiscoveryResponse(writer.bytes)) else {
            Issue.record("\(resource.name) was not accepted")
            return
        }
    }

    private func kinds(_ requests: [DiscoveryRequest]) -> [ProxyResource.Kind] { requests.map(\.kind) }

    @Test("a fresh proxy asks who it is first; one that holds what it uses then asks for destinations before the rest")
    func fresh() throws {
        var subscription = Subscription()
        #expect(kinds(subscription.opening([])) == [.workload, .identity])
        #expect(subscription.others([]).isEmpty)
        try take(&subscription, .workload(workload("frontend") { $0.loading = Loading(.onDemand) }))
        let rest = subscription.others(["10.0.0.1:80"])
        #expect(kinds(rest) == [.destination, .servicePort, .backend])
        #expect(rest[0].subscribe == ["10.0.0.1:80"] && rest[1].subscribe == ["*"] && rest[2].subscribe == ["*"])
        #expect(subscription.others([]).isEmpty, "once a stream")
        var all = Subscription()
        _ = all.opening([])
        try take(&all, .workload(workload("frontend")))
        #expect(kinds(all.others(["x"])) == [.servicePort, .backend])
        #expect(all.change(subscribe: ["x"], unsubscribe: []) == nil)
    }

    @Test("a proxy that comes back brings the versions of all it holds, and asks for exactly its destinations")
    func reconnect() throws {
        var subscription = Subscription()
        _ = subscription.opening([])
        try take(&subscription, .workload(workload("frontend") { $0.loading = Loading(.onDemand) }))
        _ = subscription.others([])
        try take(&subscription, .destination(Destination(key: "10.0.0.1:80", servicePort: "demo/a:80")), "7")
        try take(&subscription, .destination(Destination(key: "10.0.0.2:80", servicePort: "demo/b:80")), "8")
        subscription.drop(["10.0.0.2:80"])
        let opening = subscription.opening(["10.0.0.1:80", "10.0.0.3:80"])
        #expect(kinds(opening) == [.workload, .identity, .destination, .servicePort, .backend])
        #expect(opening[2].subscribe == ["10.0.0.1:80", "10.0.0.3:80"])
        #expect(opening[2].versions == ["10.0.0.1:80": "7"])
        let change = try #require(subscription.change(subscribe: ["a"], unsubscribe: ["b"]))
        #expect(change.subscribe == ["a"] && change.unsubscribe == ["b"])
    }
}
