import Glibc
import Loop
import Testing

@testable import Proxy

/// A proxy that may have little memory for buffers.
@Suite struct ShortMemoryTests {
    @Test("the reserve gives a bounded number of buffers, and is whole again when they are back")
    func reserve() throws {
        let pool = BufferPool(limit: 64 << 10)
        let first = (0..<4).map { _ in pool.take(1) }
        func isShort() -> Bool { pool.isShort }
        #expect(!isShort())
        var more: [UnsafeMutablePointer<UInt8>] = []
        while let buffer = pool.takeIfAny(3) {
            #expect(isShort())
            buffer[BufferPool.size(3) - 1] = 7
            more.append(buffer)
        }
        #expect(more.count == 32)
        // Work in progress has the other half, and what it needs beyond.
        let last = (0..<40).map { _ in pool.take(0) }
        for buffer in last { buffer[BufferPool.size(0) - 1] = 7 }
        #expect(Set(last).count == 40)
        for buffer in last { pool.give(buffer, 0) }
        for buffer in more { pool.give(buffer, 3) }
        #expect(!isShort())
        // What is kept of one size makes room for another.
        for buffer in first { pool.give(buffer, 1) }
        let other = pool.take(2)
        #expect(!isShort())
        pool.give(other, 2)
        let left = pool.bytesInUse
        #expect(left == 0)
    }

    @Test("when buffers are used up, requests are refused with a reason; later all is as before")
    func refusals() throws {
        let origin = Origin()
        let proxy = try RunningProxy(before: origin, concurrency: 1, bufferMegabytes: 4)
        defer { proxy.remove() }
        #expect(eventually { proxy.answering == Int(proxy.pid) })
        let kept = Visitor(port: proxy.port)
        #expect(kept.get("/name")?.status == 200)
        // Heads that do not end, each in a buffer: more than there is memory for.
        let half = "GET /name HTTP/1.1\r\nhost: test\r\nx-long: " + String(repeating: "x", count: 3000)
        var slow: [Visitor] = []
        for _ in 0..<1200 {
            let visitor = Visitor(port: proxy.port)
            _ = visitor.send(half)
            slow.append(visitor)
        }
        var refused: Visitor.Response?
        #expect(
            eventually {
                refused = kept.get("/name")
                return refused?.status != 200
            })
        #expect(refused?.status == 503 && refused?.reason == "out_of_memory", "\(refused?.head ?? "no answer")")
        #expect(proxy.status() == nil)
        for visitor in slow { visitor.end() }
        #expect(
            eventually {
                let visitor = Visitor(port: proxy.port)
                defer { visitor.end() }
                return visitor.get("/name")?.status == 200
            })
        kept.end()
        origin.stop()
    }
}
