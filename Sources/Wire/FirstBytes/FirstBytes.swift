import Glibc

/// What a connection carries, by its first bytes, which are looked at and not taken.
package enum FirstBytes: Equatable {
    /// None has come: the other side may be the one to begin.
    case silence
    /// They begin like something asked about, and are too few to tell.
    case needMore
    case tls(ClientHello)
    /// TLS whose hello is broken, or split over records: no peer of ours needs to.
    case brokenTLS
    /// A PROXY protocol header.
    case introduction(ProxyHeader)
    case brokenIntroduction
    case http1
    /// The preface of HTTP/2 (RFC 9113 §3.4), whole.
    case http2
    /// Nothing that was asked about.
    case other

    /// What is asked about. A protocol that cannot come here is not looked for: nobody shall wait for more of it.
    package struct Kinds: OptionSet, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }
        package static let tls = Kinds(rawValue: 1)
        package static let introduction = Kinds(rawValue: 2)
        package static let http1 = Kinds(rawValue: 4)
        package static let http2 = Kinds(rawValue: 8)
        package static let http: Kinds = [.http1, .http2]
    }

    /// The record that holds a usual ClientHello, 5 + 2^14 bytes at most; all else is shorter.
    package static let enough = 16389

    package static func look(at bytes: UnsafePointer<UInt8>, _ count: Int, for kinds: Kinds) -> FirstBytes {
        if count == 0 { return .silence }
        var begins = false
        if kinds.contains(.tls) {
            let found = lookAsTLS(bytes, count)
            if found == .needMore { begins = true } else if found != .other { return found }
        }
        if kinds.contains(.introduction) {
            switch ProxyHeader.look(at: bytes, count) {
            case .header(let header): return .introduction(header)
            case .needMore: begins = true
            case .invalid: if ProxyHeader.begins(bytes, count) { return .brokenIntroduction }
            }
        }
        if kinds.contains(.http2), starts(bytes, count, with: Self.preface) {
            if count >= Self.preface.utf8CodeUnitCount { return .http2 }
            begins = true
        }
        if kinds.contains(.http1) {
            let found = lookAsHTTP1(bytes, count)
            if found == .needMore { begins = true } else if found != .other { return found }
        }
        return begins ? .needMore : .other
    }

    private static let preface: StaticString = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    /// Whether the two agree as far as both go.
    @inline(__always)
    private static func starts(_ bytes: UnsafePointer<UInt8>, _ count: Int, with word: StaticString) -> Bool {
        memcmp(bytes, word.utf8Start, min(count, word.utf8CodeUnitCount)) == 0
    }

    /// - Source: RFC 8446 §5.1 (record), §4.1.2 (ClientHello).
    private static func lookAsTLS(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> FirstBytes {
        if bytes[0] != 22 { return .other }
        if count == 1 { return .needMore }
        if bytes[1] != 3 { return .other }
        if count < 6 { return .needMore }
        if bytes[5] != 1 { return .other }
        let record = Int(bytes[3]) << 8 | Int(bytes[4])
        if record < 4 || record > 16384 { return .other }
        if count < 5 + record { return .needMore }
        guard let hello = ClientHello(record: bytes, 5 + record) else { return .brokenTLS }
        return .tls(hello)
    }

    private static let methods: [StaticString] = [
        "GET ", "POST ", "PUT ", "HEAD ", "DELETE ", "PATCH ", "OPTIONS ", "CONNECT ", "TRACE ",
    ]

    /// A known method; and, once the first line is whole, its version.
    private static func lookAsHTTP1(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> FirstBytes {
        var begins = false
        for method in methods where starts(bytes, count, with: method) {
            if count < method.utf8CodeUnitCount {
                begins = true
                continue
            }
            guard let end = memchr(bytes, 10, count) else { return .http1 }
            let line = UnsafeRawPointer(bytes).distance(to: UnsafeRawPointer(end))
            let version = bytes + max(0, line - 9)
            return line >= 14 && memcmp(version, "HTTP/1.", 7) == 0 ? .http1 : .other
        }
        return begins ? .needMore : .other
    }
}
