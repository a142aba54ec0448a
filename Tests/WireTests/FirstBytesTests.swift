import Glibc
import Testing

@testable import Wire

@Suite("Fuzz: first bytes of connections")
struct FirstBytesTests {
    private static let all: FirstBytes.Kinds = [.tls, .introduction, .http]

    private func look(_ bytes: [UInt8], for kinds: FirstBytes.Kinds = Self.all) -> FirstBytes {
        // Exactly as many as there are, so that a read beyond them is seen.
        let copy = UnsafeMutablePointer<UInt8>.allocate(capacity: max(1, bytes.count))
        defer { copy.deallocate() }
        for (place, byte) in bytes.enumerated() { copy[place] = byte }
        return FirstBytes.look(at: copy, bytes.count, for: kinds)
    }

    private func look(_ text: String, for kinds: FirstBytes.Kinds = Self.all) -> FirstBytes {
        look(Array(text.utf8), for: kinds)
    }

    private static func extended(_ kind: UInt8, _ bytes: [UInt8]) -> [UInt8] {
        [0, kind, UInt8(bytes.count >> 8), UInt8(bytes.count & 255)] + bytes
    }

    /// A hello of TLS 1.2's form, as all versions send it (RFC 8446 §4.1.2).
    private static func hello(name: String?, protocols: [String]) -> [UInt8] {
        var extensions: [UInt8] = extended(43, [2, 3, 4])  // TLS 1.3
        if let name {
            let host = [0, 0, UInt8(name.utf8.count)] + Array(name.utf8)
            extensions += extended(0, [0, UInt8(host.count)] + host)
        }
        let list = protocols.flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) }
        if !list.isEmpty { extensions += extended(16, [0, UInt8(list.count)] + list) }
        var body: [UInt8] = [3, 3] + [UInt8](repeating: 7, count: 32)
        body += [0]  // no session
        body += [0, 2, 0x13, 0x01]  // one suite
        body += [1, 0]  // no compression
        body += [UInt8(extensions.count >> 8), UInt8(extensions.count & 255)] + extensions
        let message: [UInt8] = [1, 0, UInt8(body.count >> 8), UInt8(body.count & 255)] + body
        return [22, 3, 1, UInt8(message.count >> 8), UInt8(message.count & 255)] + message
    }

    private static let signature = Array("\r\n\r\n\0\r\nQUIT\n".utf8)
    /// Beginnings that are whole, and what they are.
    private static let whole: [[UInt8]] = [
        hello(name: "shop.test", protocols: ["h2", "http/1.1"]),
        hello(name: nil, protocols: ["weft-h2", "weft-http/1.1"]),
        hello(name: nil, protocols: []), Array("GET / HTTP/1.1\r\n".utf8), Array("OPTIONS * HTTP/1.0\r\n".utf8),
        Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8), Array("PROXY TCP4 192.0.2.7 10.0.0.1 5000 80\r\n".utf8),
        signature + [0x21, 0x11, 0, 12, 192, 0, 2, 7, 10, 0, 0, 1, 19, 136, 0, 80], Array("SSH-2.0-x\r\n".utf8),
        Array("PROXY nonsense\r\n".utf8),
    ]

    @Test("each protocol is known by its beginning")
    func known() {
        guard case .tls(let shop) = look(Self.whole[0]) else {
            Issue.record("\(look(Self.whole[0]))")
            return
        }
        let name = Self.whole[0][shop.nameOffset..<shop.nameOffset + shop.nameLength]
        #expect(String(decoding: name, as: UTF8.self) == "shop.test" && !shop.isForMesh)
        guard case .tls(let mesh) = look(Self.whole[1]), case .tls(let bare) = look(Self.whole[2]) else {
            Issue.record("\(look(Self.whole[1])) \(look(Self.whole[2]))")
            return
        }
        #expect(mesh.isForMesh && mesh.nameLength == 0)
        #expect(bare == ClientHello(record: Self.whole[2], Self.whole[2].count))
        #expect(look(Self.whole[3]) == .http1 && look(Self.whole[4]) == .http1)
        #expect(look(Self.whole[5]) == .http2)
        let header = ProxyHeader(length: Self.whole[6].count, source: 0xC000_0207, sourcePort: 5000)
        #expect(look(Self.whole[6]) == .introduction(header))
        #expect(look(Self.whole[7]) == .introduction(ProxyHeader(length: 28, source: 0xC000_0207, sourcePort: 5000)))
        #expect(look(Self.whole[8]) == .other)
        #expect(look(Self.whole[9]) == .brokenIntroduction)
    }

    @Test("nothing is said before it is certain, and what has been said stays so", arguments: 0..<10)
    func prefixes(index: Int) {
        #expect(Self.whole.count == 10)
        let bytes = Self.whole[index]
        let end = look(bytes)
        #expect(look([]) == .silence)
        for count in 1..<bytes.count {
            let part = look(Array(bytes[..<count]))
            #expect(part == .needMore || part == end, "\(count): \(part), then \(end)")
        }
    }

    @Test("what is not asked about is not waited for")
    func notAsked() {
        #expect(look("P", for: .tls) == .other && look("P", for: .introduction) == .needMore)
        #expect(look("P", for: .http1) == .needMore && look("PR", for: .http2) == .needMore)
        #expect(look("PR", for: .http1) == .other && look("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", for: .http1) == .other)
        #expect(look([22], for: .http) == .other && look([22], for: .tls) == .needMore)
        #expect(look("\r", for: [.tls, .http]) == .other && look("\r", for: .introduction) == .needMore)
        #expect(look(Self.whole[6], for: [.tls, .http]) == .other)
        #expect(look(Self.whole[0], for: .http) == .other && look(Self.whole[3], for: .tls) == .other)
    }

    @Test("lines that only begin like requests, and records that only begin like hellos")
    func others() {
        #expect(look("GET key\r\n") == .other, "another protocol's command")
        #expect(look("GET / HTTP/2.0\r\n") == .other)
        #expect(look("GET /a/long/path") == .http1)
        #expect(look("get / HTTP/1.1\r\n") == .other)
        #expect(look([22, 3, 1, 0, 3, 1]) == .other, "shorter than a hello's header")
        #expect(look([22, 3, 1, 0xFF, 0xFF, 1]) == .other, "longer than a record")
        #expect(look([22, 3, 1, 0, 4, 2, 0, 0, 0]) == .other, "a ServerHello")
        #expect(look([22, 3, 1, 0, 4, 1, 0, 0, 0]) == .brokenTLS)
        var split = Self.whole[0]
        split[8] &+= 1
        #expect(look(split) == .brokenTLS, "goes on in another record")
        #expect(look(Self.hello(name: "a b", protocols: [])) == .brokenTLS)
        #expect(look(Self.hello(name: "", protocols: [])) == .brokenTLS)
    }

    @Test("random bytes, and hellos with random faults, are read within their bounds")
    func random() {
        let rounds = getenv("WEFT_FUZZ_ITERATIONS").flatMap { Int(String(cString: $0)) } ?? 20_000
        var state: UInt64 = 6
        func next(_ limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(truncatingIfNeeded: (state >> 33) % UInt64(limit))
        }
        for _ in 0..<rounds {
            var bytes = Self.whole[next(Self.whole.count)]
            for _ in 0..<next(6) { bytes[next(bytes.count)] = UInt8(next(256)) }
            if next(4) == 0 { bytes.removeLast(next(bytes.count)) }
            let kinds = FirstBytes.Kinds(rawValue: UInt8(next(16)))
            let end = look(bytes, for: kinds)
            if case .tls(let hello) = end { #expect(hello.nameOffset + hello.nameLength <= bytes.count) }
            let part = look(Array(bytes.prefix(next(bytes.count + 1))), for: kinds)
            let isOpen = part == .silence || part == .needMore || part == .http1
            #expect(isOpen || part == end, "\(part), then \(end): \(bytes)")
        }
    }
}
