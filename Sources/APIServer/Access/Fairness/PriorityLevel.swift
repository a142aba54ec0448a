import KubeTypes
import Wire

/// What a PriorityLevelConfiguration says.
struct PriorityLevelShape: Sendable, Hashable {
    let name: String
    let uid: String
    let isExempt: Bool
    let shares: Int
    /// Percent of its seats other levels may take while it needs them not.
    let lendable: Int
    /// Percent of its seats it may take from others; `nil` for no bound.
    let borrowing: Int?
    let queues: FairQueues.Shape

    init(_ object: KubeObject) {
        name = object.name
        uid = object.uid
        isExempt = object.spec["type"]?.string == "Exempt"
        let part = object.spec[isExempt ? "exempt" : "limited"] ?? [:]
        shares = part["nominalConcurrencyShares"]?.int ?? (isExempt ? 0 : 30)
        lendable = part["lendablePercent"]?.int ?? 0
        borrowing = part["borrowingLimitPercent"]?.int
        var shape = FairQueues.Shape()
        if part["limitResponse"]?["type"]?.string == "Queue" {
            let queuing = part["limitResponse"]?["queuing"]
            shape.queues = queuing?["queues"]?.int ?? 64
            shape.handSize = queuing?["handSize"]?.int ?? 8
            shape.lengthLimit = queuing?["queueLengthLimit"]?.int ?? 50
        }
        queues = shape
    }
}

/// All levels' seats: who may run now, and who comes next. No clock and no task in it.
struct SeatPlan {
    struct Level {
        var shape: PriorityLevelShape
        /// Seats the level has by its share.
        var nominal = 0
        var inUse = 0
        var queues: FairQueues

        var lendable: Int { nominal * shape.lendable / 100 }
    }

    enum Arrival: Equatable { case runs, waits, isRefused }

    private(set) var levels: [String: Level] = [:]
    private let total: Int

    /// `total`: seats of the whole server.
    init(total: Int) { self.total = total }

    /// Takes over a new configuration. What runs keeps its seats; what waits in a level that went, or whose queues changed, is
    /// given back to be refused or run.
    mutating func configure(_ shapes: [PriorityLevelShape]) -> [Int] {
        let shares = max(1, shapes.reduce(0) { $0 + $1.shares })
        var fresh: [String: Level] = [:]
        var dropped: [Int] = []
        for shape in shapes {
            var level = levels.removeValue(forKey: shape.name) ?? Level(shape: shape, queues: FairQueues(shape.queues))
            if level.queues.shape != shape.queues {
                while let waiting = level.queues.take() { dropped.append(waiting.id) }
                level.queues = FairQueues(shape.queues)
            }
            level.shape = shape
            // Rounded up, so that each level with a share has a seat.
            level.nominal = (total * shape.shares + shares - 1) / shares
            fresh[shape.name] = level
        }
        for (name, old) in levels {
            var old = old
            while let waiting = old.queues.take() { dropped.append(waiting.id) }
            // Requests of a level that went still end.
            if old.inUse > 0 {
                old.nominal = 0
                old.queues = FairQueues(FairQueues.Shape())
                fresh[name] = old
            }
        }
        levels = fresh
        return dropped
    }

    mutating func arrive(_ id: Int, at name: String, flow: UInt64, width: Int) -> Arrival {
        guard let level = levels[name] else { return .isRefused }
        if level.queues.count == 0, hasRoom(level, width) {
            levels[name]?.inUse += width
            return .runs
        }
        return levels[name]?.queues.add(.init(id: id, width: width), flow: flow) == true ? .waits : .isRefused
    }

    /// - Returns: the waiting requests that run now.
    mutating func leave(_ name: String, width: Int) -> [Int] {
        if let level = levels[name] { levels[name]?.inUse = max(0, level.inUse - width) }
        return dispatch()
    }

    mutating func dispatch() -> [Int] {
        var started: [Int] = []
        for name in levels.keys {
            while let level = levels[name], let next = level.queues.next, hasRoom(level, next.width) {
                _ = levels[name]?.queues.take()
                levels[name]?.inUse += next.width
                started.append(next.id)
            }
        }
        return started
    }

    /// - Returns: false when the request runs already.
    mutating func giveUp(_ id: Int, at name: String) -> Bool { levels[name]?.queues.remove(id) ?? false }

    /// Its own seats a level may always have; more only while others leave theirs, and the server has them.
    private func hasRoom(_ level: Level, _ width: Int) -> Bool {
        if level.inUse + width <= level.nominal { return true }
        // One request wider than the level runs alone.
        if level.inUse == 0 { return true }
        var lent = 0
        var used = 0
        for other in levels.values {
            used += other.inUse
            if other.shape.name == level.shape.name { continue }
            lent += max(0, min(other.lendable, other.nominal - other.inUse))
        }
        if let percent = level.shape.borrowing { lent = min(lent, level.nominal * percent / 100) }
        return level.inUse + width <= level.nominal + lent && used + width <= total
    }
}
