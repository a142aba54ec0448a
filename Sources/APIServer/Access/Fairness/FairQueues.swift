/// The queues of one priority level: each flow is dealt a few of them, so a flow that floods its own leaves others to the rest.
///
/// Served by start-time fair queuing: each queue's clock goes on with the seats it was given, and the one furthest behind is next.
struct FairQueues {
    struct Shape: Sendable, Hashable {
        /// 0: no request waits.
        var queues = 0
        var handSize = 1
        /// Requests that may wait in one queue.
        var lengthLimit = 0
    }

    struct Waiting: Hashable {
        let id: Int
        /// Seats the request takes while it runs.
        let width: Int
    }

    private struct Queue {
        var waiting: [Waiting] = []
        var clock = 0
        var seats: Int { waiting.reduce(0) { $0 + $1.width } }
    }

    /// More are not kept, whatever a configuration that was stored unchecked asks for.
    private static let mostQueues = 65_536

    let shape: Shape
    private var queues: [Queue]
    private var clock = 0
    private(set) var count = 0

    init(_ shape: Shape) {
        self.shape = shape
        queues = Array(repeating: Queue(), count: min(max(0, shape.queues), Self.mostQueues))
    }

    /// Queues the request with the shortest queue of its flow's hand.
    ///
    /// - Returns: false when that one is full.
    mutating func add(_ request: Waiting, flow: UInt64) -> Bool {
        guard !queues.isEmpty else { return false }
        let hand = Self.hand(flow, size: shape.handSize, of: queues.count)
        guard let chosen = hand.min(by: { queues[$0].seats < queues[$1].seats }) else { return false }
        guard queues[chosen].waiting.count < shape.lengthLimit else { return false }
        if queues[chosen].waiting.isEmpty { queues[chosen].clock = max(queues[chosen].clock, clock) }
        queues[chosen].waiting.append(request)
        count += 1
        return true
    }

    /// The request whose turn it is.
    var next: Waiting? { chosen.map { queues[$0].waiting[0] } }

    private var chosen: Int? {
        if count == 0 { return nil }
        return queues.indices.filter { !queues[$0].waiting.isEmpty }.min { queues[$0].clock < queues[$1].clock }
    }

    /// Takes the request whose turn it is.
    mutating func take() -> Waiting? {
        guard let place = chosen else { return nil }
        let request = queues[place].waiting.removeFirst()
        clock = queues[place].clock
        queues[place].clock += request.width
        count -= 1
        return request
    }

    /// Takes out a request that waited too long; false when it is no longer there.
    mutating func remove(_ id: Int) -> Bool {
        for place in queues.indices {
            guard let index = queues[place].waiting.firstIndex(where: { $0.id == id }) else { continue }
            queues[place].waiting.remove(at: index)
            count -= 1
            return true
        }
        return false
    }

    /// `size` different queues for a flow, the same ones each time (shuffle sharding).
    static func hand(_ flow: UInt64, size: Int, of deck: Int) -> [Int] {
        var rest = flow
        var draws: [Int] = []
        var hand: [Int] = []
        for index in 0..<max(0, min(size, deck)) {
            let left = UInt64(deck - index)
            let draw = Int(rest % left)
            rest /= left
            // The draw counts among the cards still in the deck.
            var card = draw
            for earlier in draws.reversed() where card >= earlier { card += 1 }
            draws.append(draw)
            hand.append(card)
        }
        return hand
    }
}
