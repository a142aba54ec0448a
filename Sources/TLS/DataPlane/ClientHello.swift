/// What the first bytes of a connection are, as far as TLS goes.
package enum FirstBytes: Equatable {
    case needMore
    case plain
    /// A ClientHello; `forMesh` when it offers one of our application protocols.
    case tls(forMesh: Bool)

    /// The record that holds a usual ClientHello, 5 + 2^14 bytes at most.
    package static let enough = 16389

    /// Looks at what has arrived, without taking it.
    ///
    /// - Source: RFC 8446 §5.1 (record), §4.1.2 (ClientHello); RFC 7301 §3.1 (ALPN, extension 16).
    package static func look(at bytes: UnsafePointer<UInt8>, _ count: Int) -> FirstBytes {
        if count == 0 { return .needMore }
        if bytes[0] != 22 { return .plain }
        if count == 1 { return .needMore }
        if bytes[1] != 3 { return .plain }
        if count < 6 { return .needMore }
        if bytes[5] != 1 { return .plain }
        let record = Int(bytes[3]) << 8 | Int(bytes[4])
        if record < 4 || record > 16384 { return .plain }
        if count < 5 + record { return .needMore }
        return .tls(forMesh: offersMeshProtocol(bytes, 5 + record))
    }

    private static func offersMeshProtocol(_ bytes: UnsafePointer<UInt8>, _ end: Int) -> Bool {
        func number(_ at: Int) -> Int { Int(bytes[at]) << 8 | Int(bytes[at + 1]) }
        var place = 5 + 4 + 2 + 32  // record header, handshake header, version, random
        guard place < end else { return false }
        place += 1 + Int(bytes[place])  // session
        guard place + 2 <= end else { return false }
        place += 2 + number(place)  // cipher suites
        guard place < end else { return false }
        place += 1 + Int(bytes[place])  // compression
        guard place + 2 <= end else { return false }
        place += 2
        while place + 4 <= end {
            let kind = number(place)
            let length = number(place + 2)
            place += 4
            guard place + length <= end else { return false }
            if kind == 16 { return namesMesh(bytes + place, length) }
            place += length
        }
        return false
    }

    private static func namesMesh(_ list: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        var place = 2
        while place < count {
            let length = Int(list[place])
            place += 1
            guard place + length <= count else { return false }
            let isMesh =
                length > 5 && list[place] == 119 && list[place + 1] == 101 && list[place + 2] == 102
                && list[place + 3] == 116 && list[place + 4] == 45  // "weft-"
            if isMesh { return true }
            place += length
        }
        return false
    }
}
