/// What a ClientHello asks for, as far as the proxy looks without taking it.
package struct ClientHello: Equatable {
    /// Of the host asked for, in the bytes looked at; 0 long when none is.
    package var nameOffset = 0
    package var nameLength = 0

    package enum Look: Equatable {
        case needMore
        case plain
        /// TLS whose hello is broken, or split over records: no peer of ours needs to.
        case broken
        case hello(ClientHello)
    }

    /// - Source: RFC 8446 §4.1.2 (ClientHello), §5.1 (record); RFC 6066 §3 (server name, extension 0).
    package static func look(at bytes: UnsafePointer<UInt8>, _ count: Int) -> Look {
        switch FirstBytes.look(at: bytes, count) {
        case .needMore: return .needMore
        case .plain: return .plain
        case .tls: break
        }
        func number(_ at: Int) -> Int { Int(bytes[at]) << 8 | Int(bytes[at + 1]) }
        let end = 5 + number(3)
        guard end <= count, end >= 9 else { return .broken }
        let length = Int(bytes[6]) << 16 | number(7)
        guard 9 + length <= end else { return .broken }
        let last = 9 + length
        var place = 9 + 2 + 32  // headers, version, random
        guard place < last else { return .broken }
        place += 1 + Int(bytes[place])  // session
        guard place + 2 <= last else { return .broken }
        place += 2 + number(place)  // cipher suites
        guard place < last else { return .broken }
        place += 1 + Int(bytes[place])  // compression
        if place == last { return .hello(ClientHello()) }
        guard place + 2 <= last, place + 2 + number(place) == last else { return .broken }
        place += 2
        var hello = ClientHello()
        var hasName = false
        while place < last {
            guard place + 4 <= last else { return .broken }
            let kind = number(place)
            let size = number(place + 2)
            place += 4
            guard place + size <= last else { return .broken }
            if kind == 0 {
                // A list of its length, of which hosts are kind 0: one, as no other kind was ever defined.
                guard !hasName, size >= 5, number(place) == size - 2, bytes[place + 2] == 0,
                    number(place + 3) == size - 5, size > 5, size - 5 <= 255
                else { return .broken }
                hasName = true
                hello.nameOffset = place + 5
                hello.nameLength = size - 5
            }
            place += size
        }
        for index in 0..<hello.nameLength where bytes[hello.nameOffset + index] <= 32 { return .broken }
        return .hello(hello)
    }
}
