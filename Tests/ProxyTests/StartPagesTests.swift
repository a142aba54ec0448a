import Glibc
import Kernel
import Testing

@testable import Proxy

@Suite struct StartPagesTests {
    @Test("only clean text and read-only data of files is given back")
    func clean() {
        let smaps = """
            55d0c0000000-55d0c0010000 r--p 00000000 fe:00 11 /usr/bin/meshproxy
            Rss:                  64 kB
            Anonymous:             0 kB
            55d0c0010000-55d0c0030000 r-xp 00010000 fe:00 11 /usr/bin/meshproxy
            Anonymous:             0 kB
            55d0c0030000-55d0c0040000 r--p 00030000 fe:00 11 /usr/bin/meshproxy
            Anonymous:            40 kB
            55d0c0040000-55d0c0050000 rw-p 00040000 fe:00 11 /usr/bin/meshproxy
            Anonymous:             0 kB
            7f0000000000-7f0000010000 r--p 00000000 00:00 0
            Anonymous:             0 kB
            7ffe00000000-7ffe00002000 r-xp 00000000 00:00 0 [vdso]
            Anonymous:             0 kB
            """
        #expect(
            StartPages.clean(smaps) == [
                StartPages.Mapping(start: 0x55d0_c000_0000, count: 0x10000),
                StartPages.Mapping(start: 0x55d0_c001_0000, count: 0x20000),
            ])
    }

    @Test("a process that gave its pages back goes on, and holds fewer of them")
    func givesBack() throws {
        func resident() throws -> Int {
            let words = String(decoding: try SmallFile.read("/proc/self/statm"), as: UTF8.self).split(separator: " ")
            return try #require(words.count > 2 ? Int(words[2]) : nil)
        }
        // The pages of libraries this test has touched by now.
        let before = try resident()
        StartPages.giveBack()
        #expect(try resident() < before)
        let gateway = try TestGateway.plain(Origin())
        let visitor = Visitor(port: gateway.port)
        #expect(visitor.get("/name")?.text == "origin")
        visitor.end()
        gateway.plane.stop()
    }
}
