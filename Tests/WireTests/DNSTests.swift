import Testing

@testable import Wire

@Suite struct DNSTests {
    private static func name(_ text: String) throws -> DNSName { try #require(DNSName(text)) }

    @Test("a captured query is read field by field")
    func query() throws {
        let bytes: [UInt8] =
            [0x12, 0x34, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 1]  // id, RD, one question, one additional
            + [3] + Array("WWW".utf8) + [7] + Array("example".utf8) + [0] + [0, 28, 0, 1]  // AAAA, IN
            + [0, 0, 41, 0x10, 0, 0, 0, 0x80, 0, 0, 4, 0, 10, 0, 0]  // OPT: 4096 bytes, DO, one empty option
        let message = try DNSMessage(parsing: bytes)
        #expect(message.id == 0x1234)
        #expect(message.wantsRecursion)
        #expect(message.questions.map(\.name.description) == ["WWW.example."])
        #expect(message.questions.map(\.type) == [.aaaa])
        #expect(message.extensions?.payloadSize == 4096)
        #expect(message.extensions?.wantsSignatures == true)
        #expect(message.composed() == bytes)
    }

    @Test("every record type survives writing and reading")
    func roundTrip() throws {
        let zone = try Self.name("cluster.local")
        let web = try Self.name("web.demo.svc.cluster.local")
        var message = DNSMessage.query(id: 7, web, .any).response()
        message.isAuthoritative = true
        message.answers = [
            DNSRecord(web, ttl: 5, .a(0x0a60_0001)),
            DNSRecord(web, ttl: 5, .aaaa([0xfd] + [UInt8](repeating: 0, count: 14) + [1])),
            DNSRecord(web, ttl: 5, .cname(try Self.name("example.com"))),
            DNSRecord(web, ttl: 5, .srv(DNSService(weight: 100, port: 8080, target: web))),
            DNSRecord(try Self.name("1.0.96.10.in-addr.arpa"), ttl: 5, .ptr(web)),
            DNSRecord(web, ttl: 5, .txt([Array("1.1.0".utf8), []])),
            DNSRecord(zone, ttl: 5, .ns(web)),
            DNSRecord(web, ttl: 5, .other(DNSType(rawValue: 257), [1, 2, 3])),
        ]
        message.authorities = [
            DNSRecord(
                zone, ttl: 5,
                .soa(DNSAuthority(primary: web, mailbox: zone, serial: 1, refresh: 2, retry: 3, expire: 4, minimum: 5)))
        ]
        message.extensions = DNSExtensions(payloadSize: 1232)
        let bytes = message.composed()
        #expect(try DNSMessage(parsing: bytes) == message)
        #expect(bytes.count < 330, "names are compressed")
    }

    @Test("an extended code is split over header and OPT and put together again")
    func extendedCode() throws {
        var query = DNSMessage.query(id: 1, .root, .ns)
        query.extensions = DNSExtensions(payloadSize: 512)
        let message = query.response(.badVersion)
        #expect(try DNSMessage(parsing: message.composed()).code == .badVersion)
    }

    @Test("what does not fit is cut at a record and said to be truncated")
    func truncation() throws {
        let web = try Self.name("web.demo.svc.cluster.local")
        var message = DNSMessage.query(id: 7, web, .a).response()
        message.answers = (0..<100).map { DNSRecord(web, ttl: 5, .a(UInt32($0))) }
        let short = message.composed(limit: 512)
        #expect(short.count <= 512)
        let read = try DNSMessage(parsing: short)
        #expect(read.isTruncated)
        #expect(read.answers == Array(message.answers.prefix(read.answers.count)))
        #expect(read.answers.count == (512 - 12 - 28 - 4) / 16)
        #expect(try !DNSMessage(parsing: message.composed()).isTruncated)

        message.answers = []
        message.additionals = (0..<100).map { DNSRecord(web, ttl: 5, .a(UInt32($0))) }
        #expect(try !DNSMessage(parsing: message.composed(limit: 512)).isTruncated, "only extras were left out")
    }

    @Test("names are compared by whole labels, without regard to case when folded")
    func names() throws {
        let zone = try Self.name("cluster.local.")
        #expect(try Self.name("a.CLUSTER.local").folded.isWithin(zone))
        #expect(try !Self.name("xcluster.local").isWithin(zone))
        #expect(zone.isWithin(zone))
        #expect(zone.isWithin(.root))
        #expect(try Self.name("a.b").parent.description == "b.")
        #expect(DNSName(".") == .root)
        #expect(DNSName("a..b") == nil)
        #expect(DNSName(String(repeating: "a", count: 64)) == nil)
        #expect(DNSName(Array(repeating: String(repeating: "a", count: 63), count: 4).joined(separator: ".")) == nil)
        #expect(DNSName(checked: [2, 0x2e, 0x07, 0]).description == "\\046\\007.")
    }

    @Test(
        "bytes that are no message are refused and never read past",
        arguments: [
            [0xc0, 0x0c],  // a pointer to itself
            [0xc0, 0x20],  // a pointer forward
            [1, 0x61, 0xc0, 0x0c],  // a loop over a label
            [0x80, 0x00], [0x40, 0x61],  // reserved kinds of label
            [63, 0x61],  // a label longer than the message
            [0xc0],  // half a pointer
        ] as [[UInt8]])
    func malformed(name: [UInt8]) {
        let header: [UInt8] = [0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]
        #expect(throws: DNSFault.malformed(id: 9, isResponse: false)) {
            try DNSMessage(parsing: header + name + [0, 1, 0, 1])
        }
        #expect(throws: DNSFault.noHeader) { try DNSMessage(parsing: Array(header.dropLast())) }
    }

    @Test("a name that grows over 255 bytes by pointers is refused")
    func longName() {
        var bytes: [UInt8] = [0, 9, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0]
        let label: [UInt8] = [60] + [UInt8](repeating: 0x61, count: 60)
        bytes += label + label + label + label + [0] + [0, 1, 0, 1]
        bytes += label + [0xc0, 12] + [0, 1, 0, 1]
        #expect(throws: DNSFault.self) { try DNSMessage(parsing: bytes) }
    }

    @Test("a hundred thousand mangled messages are read or refused, and what is read can be written and read again")
    func mangled() throws {
        var random = SplitMix(state: 0x5eed)
        let web = try Self.name("web.demo.svc.cluster.local")
        var sample = DNSMessage.query(id: 7, web, .srv).response()
        sample.answers = [
            DNSRecord(web, ttl: 5, .srv(DNSService(weight: 1, port: 80, target: web))),
            DNSRecord(web, ttl: 5, .txt([Array("x".utf8)])), DNSRecord(web, ttl: 5, .cname(web)),
        ]
        sample.extensions = DNSExtensions(payloadSize: 1232)
        let good = sample.composed()
        var readCount = 0
        for round in 0..<100_000 {
            var bytes: [UInt8]
            if round % 2 == 0 {
                bytes = (0..<Int.random(in: 0..<80, using: &random)).map { _ in
                    UInt8.random(in: 0...255, using: &random)
                }
                if round % 4 == 0, bytes.count > 12 { for index in 4..<12 { bytes[index] &= index % 2 == 0 ? 0 : 3 } }
            } else {
                bytes = good
                for _ in 0..<Int.random(in: 1...4, using: &random) {
                    bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
                }
                if round % 3 == 0 { bytes.removeLast(Int.random(in: 0..<bytes.count, using: &random)) }
            }
            guard let message = try? DNSMessage(parsing: bytes) else { continue }
            readCount += 1
            let again = try DNSMessage(parsing: message.composed())
            #expect(again == message)
        }
        #expect(readCount > 1000)
    }
}

/// A small generator with a seed, so that a failure can be repeated.
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}
