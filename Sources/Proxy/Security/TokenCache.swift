import Glibc
import ProxyResources
import Wire

/// A token that was found good, as plain memory.
struct CachedToken {
    var hash: UInt64
    /// Which rule it was good for, and the token's bytes.
    var rule: UInt64
    var bytes: UnsafeMutablePointer<UInt8>
    var count: Int
    /// Of the loop's clock.
    var expires: UInt64
    var used: UInt64
    var token: LiveToken
    /// What the next hop is told: see `Grants`.
    var grants: UnsafeMutablePointer<UInt8>
    var grantsCount: Int

    var size: Int { count + grantsCount + token.size + MemoryLayout<CachedToken>.size }
}

extension UnsafeMutablePointer where Pointee == CachedToken {
    var liveToken: UnsafePointer<LiveToken> {
        let offset = MemoryLayout<CachedToken>.offset(of: \.token) ?? 0
        return UnsafePointer((UnsafeMutableRawPointer(self) + offset).assumingMemoryBound(to: LiveToken.self))
    }
}

/// Tokens one loop has checked before, bounded in number and bytes; of too many the one not used for longest goes.
struct TokenCache: ~Copyable {
    static let most = 1024
    static let mostBytes = 2 << 20

    private var places: [UInt64: UnsafeMutablePointer<CachedToken>] = [:]
    private(set) var bytes = 0
    var count: Int { places.count }

    deinit { for (_, entry) in places { Self.free(entry) } }

    static func hash(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ rule: UInt64) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325 ^ rule
        for place in 0..<count { hash = (hash ^ UInt64(bytes[place])) &* 0x100_0000_01B3 }
        return hash
    }

    /// The same bytes, found good for the same rule, and not expired.
    mutating func find(
        _ hash: UInt64, _ bytes: UnsafePointer<UInt8>, _ count: Int, _ rule: UInt64, now: UInt64
    ) -> UnsafeMutablePointer<CachedToken>? {
        guard let entry = places[hash] else { return nil }
        guard entry.pointee.rule == rule, entry.pointee.count == count, memcmp(entry.pointee.bytes, bytes, count) == 0
        else { return nil }
        if entry.pointee.expires <= now {
            remove(entry)
            return nil
        }
        entry.pointee.used = now
        return entry
    }

    mutating func keep(_ made: CachedToken) -> UnsafeMutablePointer<CachedToken> {
        if let old = places[made.hash] { remove(old) }
        while places.count >= Self.most || (bytes + made.size > Self.mostBytes && !places.isEmpty) {
            guard let oldest = places.values.min(by: { $0.pointee.used < $1.pointee.used }) else { break }
            remove(oldest)
        }
        let entry = UnsafeMutablePointer<CachedToken>.allocate(capacity: 1)
        entry.initialize(to: made)
        places[made.hash] = entry
        bytes += made.size
        return entry
    }

    private mutating func remove(_ entry: UnsafeMutablePointer<CachedToken>) {
        places[entry.pointee.hash] = nil
        bytes -= entry.pointee.size
        Self.free(entry)
    }

    private static func free(_ entry: UnsafeMutablePointer<CachedToken>) {
        entry.pointee.bytes.deallocate()
        entry.pointee.grants.deallocate()
        entry.pointee.token.deallocate()
        entry.deallocate()
    }
}

/// Changes to a request's head that authorization makes: lines that go, and lines that come in their place.
///
/// Each is a kind, the length of the name and of the whole in two bytes each, and the name or the line.
enum Grants {
    static let drop: UInt8 = 0
    static let set: UInt8 = 1
    /// Beside lines of the same name.
    static let join: UInt8 = 2
    static let most = 16384

    static func add(drop name: String, to bytes: inout [UInt8]) { add(drop, name.utf8.count, Array(name.utf8), &bytes) }

    /// - Parameters:
    ///   - name: in lower case.
    ///   - value: fit for a header.
    static func add(_ name: String, _ value: String, to bytes: inout [UInt8]) {
        add(set, name.utf8.count, Array("\(name): \(value)\r\n".utf8), &bytes)
    }

    private static func add(_ kind: UInt8, _ nameLength: Int, _ text: [UInt8], _ bytes: inout [UInt8]) {
        if bytes.count + text.count + 5 > most { return }
        bytes += [
            kind, UInt8(nameLength >> 8), UInt8(nameLength & 255), UInt8(text.count >> 8), UInt8(text.count & 255),
        ]
        bytes += text
    }
}
