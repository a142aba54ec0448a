/// What a ClientHello asks for, as far as the proxy looks without taking it.
package struct ClientHello: Equatable {
    /// Of the host asked for, in the bytes looked at; 0 long when none is.
    package var nameOffset = 0
    package var nameLength = 0
    /// It offers one of our own application protocols: a sidecar calls.
    package var isForMesh = false

    /// Reads the record that stands whole before `end`; nil when the hello in it is broken, or not whole.
    ///
    /// - Source: RFC 8446 §4.1.2 (ClientHello), §5.1 (record); RFC 6066 §3 (server name, extension 0); RFC 7301 §3.1 (ALPN, 16).
    init?(record bytes: UnsafePointer<UInt8>, _ end: Int) {
        func number(_ at: Int) -> Int { Int(bytes[at]) << 8 | Int(bytes[at + 1]) }
        guard end >= 9 else { return nil }
        let length = Int(bytes[6]) << 16 | number(7)
        guard 9 + length <= end else { return nil }
        let last = 9 + length
        var place = 9 + 2 + 32  // headers, version, random
        guard place < last else { return nil }
        place += 1 + Int(bytes[place])  // session
        guard place + 2 <= last else { return nil }
        place += 2 + number(place)  // cipher suites
        guard place < last else { return nil }
        place += 1 + Int(bytes[place])  // compression
        if place == last { return }
        guard place + 2 <= last, place + 2 + number(place) == last else { return nil }
        place += 2
        var hasName = false
        while place < last {
            guard place + 4 <= last else { return nil }
            let kind = number(place)
            let size = number(place + 2)
            place += 4
            guard place + size <= last else { return nil }
            if kind == 0 {
                // A list of its length, of which hosts are kind 0: one, as no other kind was ever defined.
                guard !hasName, size > 5, number(place) == size - 2, bytes[place + 2] == 0,
                    number(place + 3) == size - 5, size - 5 <= 255
                else { return nil }
                hasName = true
                nameOffset = place + 5
                nameLength = size - 5
            } else if kind == 16 {
                isForMesh = Self.namesMesh(bytes + place, size)
            }
            place += size
        }
        for index in 0..<nameLength where bytes[nameOffset + index] <= 32 { return nil }
    }

    /// Whether a list of protocols names one that begins with `weft-`.
    private static func namesMesh(_ list: UnsafePointer<UInt8>, _ count: Int) -> Bool {
        var place = 2
        while place < count {
            let length = Int(list[place])
            place += 1
            guard place + length <= count else { return false }
            let isMesh =
                length > 5 && list[place] == 119 && list[place + 1] == 101 && list[place + 2] == 102
                && list[place + 3] == 116 && list[place + 4] == 45
            if isMesh { return true }
            place += length
        }
        return false
    }
}
