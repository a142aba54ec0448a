import Glibc
import Kernel
import Loop
import ProxyResources
import Testing
import Wire

@testable import Proxy

@Suite struct RecordTests {
    @Test("a record is at most 1 KiB, and an exchange of a ring's size is found again")
    func size() { #expect(MemoryLayout<RequestRecord>.stride <= 1152, "\(MemoryLayout<RequestRecord>.stride)") }

    @Test("the ring keeps the newest records")
    func ring() {
        var history = RecordHistory(bytes: MemoryLayout<RequestRecord>.stride * 4)
        let record = RecordPointer.allocate(capacity: 1)
        record.initialize(to: RequestRecord())
        defer { record.deallocate() }
        for number in 1...10 {
            record.pointee.sequence = UInt64(number)
            history.add(record)
        }
        #expect(history.copy(skipping: 0, most: 10).map(\.sequence) == [10, 9, 8, 7])
        #expect(history.copy(skipping: 3, most: 10).map(\.sequence) == [7])
        #expect(history.copy(skipping: 4, most: 10).isEmpty)
        history.resize(bytes: MemoryLayout<RequestRecord>.stride * 2)
        #expect(history.copy(skipping: 0, most: 10).isEmpty)
    }

    @Test("a queue gives back what was put in, in order, and counts what did not fit")
    func queue() {
        let bell = RecordQueue.Bell()
        let queue = RecordQueue(bell: bell)
        let record = RecordPointer.allocate(capacity: 1)
        record.initialize(to: RequestRecord())
        defer { record.deallocate() }
        for number in 0..<RecordQueue.capacity + 5 {
            record.pointee.sequence = UInt64(number)
            queue.push(record)
        }
        #expect(queue.dropped == 5)
        for number in 0..<RecordQueue.capacity {
            #expect(queue.front()?.pointee.sequence == UInt64(number))
            queue.advance()
        }
        #expect(queue.front() == nil)
        queue.end()
        bell.end()
    }

    @Test("a failed request is kept with its rule, attempts, stages and reason, and found by its number")
    func keepsFailures() throws {
        let seen = try SeenGateway {
            $0.workload.telemetry.recordPercent = 0
            $0.backends["origin"]?.endpoints = [endpoint(1), endpoint(2)]
        }
        let visitor = Visitor(port: seen.gateway.port)
        let answer = visitor.get("/some/where?q=1", "x-request-id: abc-1\r\n")
        #expect(answer?.status == 503)
        let found = try JSON(parsing: seen.admin("/requests?id=abc-1"))
        let record = try #require(found.array?.first, "\(found.text)")
        #expect(record["rule"]?.string == "HTTPRoute demo/all rule 0")
        #expect(record["path"]?.string == "/some/where?q=1" && record["method"]?.string == "GET")
        #expect(record["status"]?.int == 503 && record["failed"]?.bool == true)
        #expect(record["reason"]?.string == answer?.reason)
        #expect((record["attempts"]?.int ?? 0) >= 2)
        let tries = record["tries"]?.array ?? []
        #expect(tries.allSatisfy { $0["endpoint"]?.string?.hasPrefix("127.0.0.1:") == true })
        #expect(tries.first?["flags"]?.string == "UF", "\(found.text)")
        let stages = record["stages"]?.object
        #expect(stages?["headReceived"] != nil && stages?["routed"] != nil && stages?["end"] != nil)
        #expect(try JSON(parsing: seen.admin("/requests?id=abc-2")).array?.isEmpty == true)
        #expect(try JSON(parsing: seen.admin("/requests?failed&last=5")).array?.count == 1)
        #expect(seen.admin("/requests?status=oops").contains("status is \"oops\""))
        visitor.end()
        seen.end()
    }

    @Test("of requests that succeed a share is kept; of a hundred percent all")
    func keepsSample() throws {
        let seen = try SeenGateway(loops: 2) { $0.workload.telemetry.recordPercent = 100 }
        let visitor = Visitor(port: seen.gateway.port)
        for place in 0..<40 { #expect(visitor.get("/name/\(place)")?.status == 200) }
        visitor.end()
        let all = try JSON(parsing: seen.admin("/requests?last=1000")).array ?? []
        #expect(all.count == 40)
        #expect(all.first?["path"]?.string == "/name/39")
        #expect(all.first?["tries"]?.array?.first?["status"]?.int == 200)
        #expect(try JSON(parsing: seen.admin("/requests?path=/name/7")).array?.count == 1)
        seen.end()
    }

    @Test("tap shows requests as they come, those that are wanted, until its limit")
    func tap() throws {
        let seen = try SeenGateway { $0.workload.telemetry.recordPercent = 0 }
        let watcher = Visitor(port: seen.adminPort)
        #expect(watcher.send("GET /tap?path=/name&limit=3&seconds=30 HTTP/1.1\r\nhost: t\r\n\r\n"))
        let visitor = Visitor(port: seen.gateway.port)
        #expect(eventually { seen.gateway.plane.desk.queues[0].isTapped })
        for path in ["/name/1", "/other", "/name/2", "/name/3", "/name/4"] {
            #expect(visitor.get(path)?.status == 200)
        }
        let answer = try #require(watcher.response())
        #expect(header("content-type", answer.head) == "application/x-ndjson")
        let lines = try answer.text.split(separator: "\n").map { try JSON(parsing: String($0)) }
        #expect(lines.map { $0["path"]?.string } == ["/name/1", "/name/2", "/name/3"])
        #expect(eventually { !seen.gateway.plane.desk.queues[0].isTapped })
        watcher.end()
        visitor.end()
        seen.end()
    }

    @Test("a tap whose reader has gone, or whose time is over, holds nobody")
    func tapEnds() throws {
        let seen = try SeenGateway()
        let gone = Visitor(port: seen.adminPort)
        #expect(gone.send("GET /tap HTTP/1.1\r\nhost: t\r\n\r\n"))
        #expect(eventually { seen.gateway.plane.desk.queues[0].isTapped })
        gone.end()
        #expect(eventually { !seen.gateway.plane.desk.queues[0].isTapped })
        let short = Visitor(port: seen.adminPort)
        #expect(short.get("/tap?seconds=1")?.status == 200)
        #expect(short.get("/ready")?.text == "ready\n", "the connection goes on")
        short.end()
        seen.end()
    }

    @Test("a tap nobody reads is cut off at its bound")
    func slowTap() throws {
        let bell = RecordQueue.Bell()
        let tap = Tap(filter: try TapFilter([]), most: 1_000_000, bell: bell.descriptor)
        let line = String(repeating: "x", count: 1000)
        for _ in 0..<2000 { tap.offer(line) }
        let (lines, isOver) = tap.take()
        #expect(isOver && lines.count < 1_100_000)
        #expect(String(decoding: lines.suffix(60), as: UTF8.self).contains("too slow"))
        bell.end()
    }
}
