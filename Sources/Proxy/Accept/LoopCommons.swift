import Glibc
import Loop
import Synchronization

/// What the loops of one proxy share: what they have learned of protocols, how busy each is, and what is asked for.
final class LoopCommons: Sendable {
    let memory = ProtocolMemory()
    let loads: LoopLoads
    let demand = DemandDesk()

    init(loops: Int) { loads = LoopLoads(loops) }
}

/// How busy each loop is, as it last said: its clients and the exchanges they have in flight.
// `@unchecked Sendable`: the memory behind the pointer is atomics, made in init and freed in deinit.
final class LoopLoads: @unchecked Sendable {
    let count: Int
    private let words: UnsafeMutablePointer<Atomic<Int>>
    /// A loop's word has a cache line of its own.
    private static let stride = 8

    init(_ count: Int) {
        self.count = max(1, count)
        words = .allocate(capacity: self.count * Self.stride)
        for place in 0..<self.count * Self.stride { (words + place).initialize(to: Atomic(0)) }
    }

    deinit {
        words.deinitialize(count: count * Self.stride)
        words.deallocate()
    }

    func say(_ load: Int, of loop: Int) { words[loop * Self.stride].store(load, ordering: .relaxed) }

    /// Counts a connection on its way to a loop, until that loop says anew.
    func expect(at loop: Int) { words[loop * Self.stride].add(1, ordering: .relaxed) }

    /// The loop a new connection should go to instead of `own`, whose load is `load`; nil to stay.
    ///
    /// The kernel spreads connections by chance. That is fair for many and not for few, so few are spread evenly, and many only
    /// when they are far apart: each that moves costs a message.
    func better(than own: Int, load: Int) -> Int? {
        if count < 2 { return nil }
        var least = own
        var smallest = load
        for loop in 0..<count where loop != own {
            let found = words[loop * Self.stride].load(ordering: .relaxed)
            if found < smallest { (least, smallest) = (loop, found) }
        }
        if least == own { return nil }
        let allowed = load <= 32 ? 1 : 8 + smallest / 4
        return load - smallest > allowed ? least : nil
    }
}

/// An accepted connection on its way to another loop. Places of listeners differ from loop to loop, so it is known by what it is.
struct MovedConnection: Sendable {
    var descriptor: CInt
    var remoteAddress: UInt32
    var remotePort: UInt16
    var side: Side
    var port: UInt16
    var address: String
    var inherited: String
}

extension Engine {
    /// Lets other loops see how busy this one is; once a turn.
    @inline(__always)
    func sayLoad() { commons.loads.say(counts.clients &+ counts.exchanges, of: Int(loopNumber)) }

    /// Gives a new connection to a loop that has less to do. False when it stays.
    mutating func move(_ descriptor: CInt, _ remoteAddress: UInt32, _ remotePort: UInt16, _ place: Int) -> Bool {
        if loops.count < 2 { return false }
        let load = counts.clients &+ counts.exchanges
        guard let other = commons.loads.better(than: Int(loopNumber), load: load) else { return false }
        commons.loads.expect(at: other)
        let listening = listeners[place]
        loops[other].post(
            .adopt(
                MovedConnection(
                    descriptor: descriptor, remoteAddress: remoteAddress, remotePort: remotePort, side: listening.side,
                    port: listening.port, address: listening.address, inherited: listening.inherited)))
        return true
    }

    /// Takes a connection another loop has accepted.
    mutating func adopt(_ moved: MovedConnection) {
        let found = listeners.lastIndex {
            $0.side == moved.side && $0.port == moved.port && $0.address == moved.address
                && $0.inherited == moved.inherited
        }
        guard let found else {
            Glibc.close(moved.descriptor)
            return
        }
        admit(moved.descriptor, moved.remoteAddress, moved.remotePort, found)
    }
}
