import ProxyResources

/// What is done on a client connection so that its exchange ends well, and what it holds meanwhile; on an upstream, its place
/// under the limits of its backend. Times in nanoseconds.
///
/// Kept beside the slab, since most exchanges need none: `hasEffort` says whether a connection's is in use.
struct Effort {
    /// Places held at gates, left when the exchange ends.
    struct Held: OptionSet {
        let rawValue: UInt8
        static let routeRequest = Held(rawValue: 1)
        static let backendRequest = Held(rawValue: 2)
        static let routeRetry = Held(rawValue: 4)
        static let backendRetry = Held(rawValue: 8)
        /// Counted by the adaptive limit.
        static let adaptive = Held(rawValue: 16)
        /// A place among the connections, granted while parked, for the connection about to be made.
        static let connection = Held(rawValue: 32)
        /// The first to have an idle connection, before those still in the queue.
        static let turn = Held(rawValue: 64)
    }

    /// What is not asked twice of a request that was parked in between.
    struct Passed: OptionSet {
        let rawValue: UInt8
        static let deadline = Passed(rawValue: 1)
        static let rates = Passed(rawValue: 2)
    }

    var held: Held = []
    var passed: Passed = []
    /// Place of the route's entry; -1 for none.
    var entry: Int32 = -1
    /// Place of the backend's guard; -1 for none.
    var guardPlace: Int32 = -1
    var repetitions: UInt8 = 0
    /// Rate limits that have admitted the request, and how often it has waited for the next of them.
    var ratesPassed: UInt8 = 0
    var rateWaits: UInt8 = 0
    var refusal = RetryRefusal.none
    /// This hop repeats the request if it fails, and says so to the next.
    var repeats = false
    /// A hop before this one repeats the request itself.
    var outerRepeats = false
    /// The end of all tries came with the request.
    var endIsGiven = false
    /// The body is kept for another try, up to `bodyBytes`.
    var keepsBody = false
    /// Sent before; the bytes are in `replay`, not in `input`.
    var isRepeating = false
    /// Of the request as it came.
    var headBytes: Int32 = 0
    var bodyBytes: Int32 = 0
    /// Endpoints tried, the latest last.
    var tried: InlineArray<4, Int32> = .init(repeating: -1)
    /// The end of the exchange; of the present try.
    var end: UInt64 = .max
    var tryEnd: UInt64 = .max
    /// No byte may take longer.
    var idle: UInt64 = Limits.idleExchange
    /// Where in the composed head the numbers stand that change with each try; -1 when it has none.
    var attemptPlace: Int32 = -1
    var deadlinePlace: Int32 = -1
    var grpcPlace: Int32 = -1
    /// The gate a parked request waits at.
    var waitsAt: Unmanaged<Gate>? = nil
    var waitsFor: Held = []
    /// An upstream's place among its backend's connections; holds the gate.
    var gate: Unmanaged<Gate>? = nil
    /// Requests an upstream has served and may serve; 0 for no bound.
    var served: UInt32 = 0
    var mostServed: UInt32 = 0
}

extension Effort {
    /// The earliest of the ends that count while there is no response.
    var nextEnd: UInt64 { min(end, tryEnd) }

    mutating func note(tried slot: Int32) {
        tried = [tried[1], tried[2], tried[3], slot]
    }

    func wasTried(_ slot: Int32) -> Bool {
        tried[0] == slot || tried[1] == slot || tried[2] == slot || tried[3] == slot
    }
}
