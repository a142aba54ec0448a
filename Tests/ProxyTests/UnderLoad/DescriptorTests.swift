import Glibc
import Testing

@testable import Proxy

/// A proxy that may have few open files.
@Suite struct DescriptorTests {
    private static let files = 80

    @Test("idle clients make room when descriptors are short; requests on kept connections go on, and later ones too")
    func idleClients() throws {
        let origin = Origin()
        let proxy = try RunningProxy(before: origin, concurrency: 1, files: Self.files)
        defer { proxy.remove() }
        #expect(eventually { proxy.answering == Int(proxy.pid) })
        var idle: [Visitor] = []
        for number in 0..<300 {
            let visitor = Visitor(port: proxy.port)
            let answer = visitor.get("/name")
            #expect(answer?.status == 200, "\(number): \(answer?.reason ?? "no answer")")
            idle.append(visitor)
        }
        let busy = Load(port: proxy.port, connections: 8)
        #expect(eventually { busy.served > 200 })
        for visitor in idle { visitor.end() }
        let result = busy.finish()
        // A connection of the load may be taken for an idle one between two of its requests.
        #expect(result.served > 200 && result.failed <= 20, "\(result)")
        #expect(Set(result.reasons.keys).isSubset(of: ["no answer"]), "\(result)")
        let visitor = Visitor(port: proxy.port)
        #expect(visitor.get("/name")?.status == 200)
        visitor.end()
        origin.stop()
    }

    @Test("more busy clients than descriptors: those that have no place wait, the others are answered")
    func busyClients() throws {
        let origin = Origin()
        origin.set(.init(delay: 20_000))
        let proxy = try RunningProxy(before: origin, concurrency: 1, files: Self.files)
        defer { proxy.remove() }
        #expect(eventually { proxy.answering == Int(proxy.pid) })
        let load = Load(port: proxy.port, connections: 100)
        #expect(eventually { load.served > 1000 })
        let result = load.finish()
        // Those that had no place until they lost patience.
        #expect(Set(result.reasons.keys).isSubset(of: ["no answer"]), "\(result)")
        #expect(result.failed < result.served / 10, "\(result)")
        #expect(proxy.status() == nil)
        let visitor = Visitor(port: proxy.port)
        #expect(visitor.get("/name")?.status == 200)
        visitor.end()
        origin.stop()
    }
}
