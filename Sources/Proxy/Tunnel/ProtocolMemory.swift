import Synchronization

/// Which service ports speak a protocol in which the server begins, as connections have shown. One for all loops.
///
/// A place holds one port; a port that hashes to a place in use takes it over, so that the memory is bounded. Reading and writing are
/// single atomic words.
// `@unchecked Sendable`: the memory behind the pointer is atomics, made in init and freed in deinit.
final class ProtocolMemory: @unchecked Sendable {
    private static let places = 1024
    private let words: UnsafeMutablePointer<Atomic<UInt64>>

    init() {
        words = .allocate(capacity: Self.places)
        for place in 0..<Self.places { (words + place).initialize(to: Atomic(0)) }
    }

    deinit {
        (words).deinitialize(count: Self.places)
        words.deallocate()
    }

    /// A service's address and port as clients name them, or a port of this pod; never 0.
    private static func key(_ side: Side, _ address: UInt32, _ port: UInt16) -> UInt64 {
        let whose: UInt64 = side == .inbound ? 1 : 2
        return whose << 48 | UInt64(side == .inbound ? 0 : address) << 16 | UInt64(port)
    }

    private func place(_ key: UInt64) -> UnsafeMutablePointer<Atomic<UInt64>> {
        words + Int((key &* 0x9E37_79B9_7F4A_7C15) >> 54)
    }

    func serverBegins(_ side: Side, _ address: UInt32, _ port: UInt16) -> Bool {
        let key = Self.key(side, address, port)
        return place(key).pointee.load(ordering: .relaxed) == key
    }

    func learn(_ side: Side, _ address: UInt32, _ port: UInt16) {
        let key = Self.key(side, address, port)
        place(key).pointee.store(key, ordering: .relaxed)
    }

    func forget(_ side: Side, _ address: UInt32, _ port: UInt16) {
        let key = Self.key(side, address, port)
        _ = place(key).pointee.compareExchange(expected: key, desired: 0, ordering: .relaxed)
    }
}

/// What a tunnel without a declared protocol may still teach.
enum Lesson: UInt8 {
    case none
    /// The client kept silent for as long as was waited: whoever speaks first now decides.
    case silence
    /// It was begun since the server is known to begin: a client that begins shows otherwise.
    case memory
}

extension Engine {
    /// Whether connections to where the client wants to go can be relayed at once: there the server begins.
    func serverBegins(_ client: Conn) -> Bool {
        commons.memory.serverBegins(client.pointee.side, client.pointee.originalAddress, client.pointee.originalPort)
    }

    /// The client has said nothing for as long as was waited.
    mutating func noteSilence(_ client: Conn) {
        counts.silences += 1
        client.pointee.lesson = .silence
    }

    /// The first bytes of a tunnel have come, from the client or from the server.
    mutating func learn(_ client: Conn, fromServer: Bool) {
        let lesson = client.pointee.lesson
        client.pointee.lesson = .none
        let (side, address) = (client.pointee.side, client.pointee.originalAddress)
        if fromServer {
            if lesson == .silence { commons.memory.learn(side, address, client.pointee.originalPort) }
        } else if lesson == .memory {
            commons.memory.forget(side, address, client.pointee.originalPort)
        }
    }
}
