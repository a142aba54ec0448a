import Glibc

/// What the encoder does with a field of a name it knows.
enum Indexing: UInt8 {
    /// Goes into the dynamic table at its first sight.
    case atOnce
    /// Differs from message to message: would only push out what repeats.
    case without
    /// A secret: no hop may put it into a table (RFC 7541 §7.1.3).
    case never
    /// A secret when it is short enough to be guessed.
    case neverWhenShort
}

/// A header name met often: where the static table has it, and how it is indexed.
struct KnownName {
    var bytes: UnsafePointer<UInt8>
    var count: Int32
    /// Its first place in the static table; 0 when it has none.
    var first: UInt8
    /// Places in the static table from `first` on.
    var places: UInt8
    var indexing: Indexing
}

/// The static table of RFC 7541, appendix A, in plain memory that is built once.
struct StaticTable {
    struct Entry {
        var name: UnsafePointer<UInt8>
        var value: UnsafePointer<UInt8>
        var nameLength: Int32
        var valueLength: Int32
    }

    static let count = 61
    private static let slots = 256

    /// Index 1 is first; place 0 is unused.
    let entries: UnsafePointer<Entry>
    private let names: UnsafePointer<KnownName>
    /// Open addressing by the name's hash; the places in `names` plus one.
    private let places: UnsafePointer<UInt8>

    // `nonisolated(unsafe)`: written before anyone else sees it, never after.
    nonisolated(unsafe) static let shared = StaticTable()

    private init() {
        let table = UnsafeMutablePointer<Entry>.allocate(capacity: Self.count + 1)
        let known = UnsafeMutablePointer<KnownName>.allocate(capacity: Self.slots)
        var names = 0
        var previous: StaticString = ""
        for (place, (name, value)) in Self.fields.enumerated() {
            (table + place + 1).initialize(
                to: Entry(
                    name: name.utf8Start, value: value.utf8Start, nameLength: Int32(name.utf8CodeUnitCount),
                    valueLength: Int32(value.utf8CodeUnitCount)))
            if names > 0 && Self.same(name, previous) {
                known[names - 1].places += 1
            } else {
                (known + names).initialize(to: Self.knownName(name, first: UInt8(place + 1)))
                names += 1
                previous = name
            }
        }
        (table).initialize(to: table[1])
        for name in Self.changing {
            (known + names).initialize(to: Self.knownName(name, first: 0))
            known[names].indexing = .without
            names += 1
        }
        let slots = UnsafeMutablePointer<UInt8>.allocate(capacity: Self.slots)
        slots.initialize(repeating: 0, count: Self.slots)
        for place in 0..<names {
            var slot = Int(fieldHash(known[place].bytes, Int(known[place].count))) & (Self.slots - 1)
            while slots[slot] != 0 { slot = (slot + 1) & (Self.slots - 1) }
            slots[slot] = UInt8(place + 1)
        }
        entries = UnsafePointer(table)
        self.names = UnsafePointer(known)
        places = UnsafePointer(slots)
    }

    /// - Parameter hash: of the name, by `fieldHash`.
    @inline(__always)
    func find(_ name: UnsafePointer<UInt8>, _ count: Int, hash: UInt32) -> UnsafePointer<KnownName>? {
        var slot = Int(hash) & (Self.slots &- 1)
        while places[slot] != 0 {
            let found = names + (Int(places[slot]) &- 1)
            if Int(found.pointee.count) == count && sameBytes(found.pointee.bytes, name, count) { return found }
            slot = (slot &+ 1) & (Self.slots &- 1)
        }
        return nil
    }

    private static func same(_ left: StaticString, _ right: StaticString) -> Bool {
        left.utf8CodeUnitCount == right.utf8CodeUnitCount
            && sameBytes(left.utf8Start, right.utf8Start, left.utf8CodeUnitCount)
    }

    private static func knownName(_ name: StaticString, first: UInt8) -> KnownName {
        let indexing: Indexing =
            switch "\(name)" {
            case "authorization", "proxy-authorization": .never
            case "cookie": .neverWhenShort
            case ":path", "content-length", "content-range", "date", "etag", "expires", "age", "if-match",
                "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "last-modified", "location",
                "range", "retry-after", "set-cookie":
                .without
            default: .atOnce
            }
        return KnownName(
            bytes: name.utf8Start, count: Int32(name.utf8CodeUnitCount), first: first, places: 1, indexing: indexing)
    }

    /// Outside the static table, and another value with each message.
    private static let changing: [StaticString] = [
        "x-request-id", "traceparent", "tracestate", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid", "b3",
        "x-request-deadline", "grpc-timeout", "grpc-message", "x-forwarded-for", "x-envoy-upstream-service-time",
        "x-amzn-trace-id", "x-cloud-trace-context", "x-correlation-id", "idempotency-key",
    ]

    private static let fields: [(StaticString, StaticString)] = [
        (":authority", ""), (":method", "GET"), (":method", "POST"), (":path", "/"), (":path", "/index.html"),
        (":scheme", "http"), (":scheme", "https"), (":status", "200"), (":status", "204"), (":status", "206"),
        (":status", "304"), (":status", "400"), (":status", "404"), (":status", "500"), ("accept-charset", ""),
        ("accept-encoding", "gzip, deflate"), ("accept-language", ""), ("accept-ranges", ""), ("accept", ""),
        ("access-control-allow-origin", ""), ("age", ""), ("allow", ""), ("authorization", ""),
        ("cache-control", ""), ("content-disposition", ""), ("content-encoding", ""), ("content-language", ""),
        ("content-length", ""), ("content-location", ""), ("content-range", ""), ("content-type", ""),
        ("cookie", ""), ("date", ""), ("etag", ""), ("expect", ""), ("expires", ""), ("from", ""), ("host", ""),
        ("if-match", ""), ("if-modified-since", ""), ("if-none-match", ""), ("if-range", ""),
        ("if-unmodified-since", ""), ("last-modified", ""), ("link", ""), ("location", ""), ("max-forwards", ""),
        ("proxy-authenticate", ""), ("proxy-authorization", ""), ("range", ""), ("referer", ""), ("refresh", ""),
        ("retry-after", ""), ("server", ""), ("set-cookie", ""), ("strict-transport-security", ""),
        ("transfer-encoding", ""), ("user-agent", ""), ("vary", ""), ("via", ""), ("www-authenticate", ""),
    ]
}

@inline(__always)
func sameBytes(_ left: UnsafePointer<UInt8>, _ right: UnsafePointer<UInt8>, _ count: Int) -> Bool {
    memcmp(left, right, count) == 0
}

/// Spreads names and values over tables whose chains are bounded, so a peer that makes values collide gains nothing.
@inline(__always)
func fieldHash(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> UInt32 {
    var hash = UInt64(truncatingIfNeeded: count) &* 0x9E37_79B9_7F4A_7C15
    var place = 0
    while place &+ 8 <= count {
        hash ^= UnsafeRawPointer(bytes + place).loadUnaligned(as: UInt64.self)
        hash = hash &* 0x9E37_79B9_7F4A_7C15
        hash ^= hash >> 32
        place &+= 8
    }
    var tail: UInt64 = 0
    while place < count {
        tail = tail << 8 | UInt64(bytes[place])
        place &+= 1
    }
    hash = (hash ^ tail) &* 0x9E37_79B9_7F4A_7C15
    return UInt32(truncatingIfNeeded: hash >> 32)
}
