import ProxyResources

/// Which destinations a proxy that holds what it uses has asked for, and what it heard. Does no I/O and has no clock.
///
/// A destination is asked for once, however many wait for it. One that is not there stays asked for, for a while, so that the control
/// plane tells when it comes into being. Both kinds are dropped when nobody has used them for long enough, never while the control
/// plane is away: it could not give them back.
struct DemandBook {
    enum Standing: Equatable { case asked, present, absent }

    struct Entry {
        var standing: Standing
        /// When somebody wanted it last, as far as the book was asked.
        var wanted: UInt64
        /// Among the counts of use; the same as long as the entry is there.
        var place: Int16
    }

    enum Answer: Equatable {
        case present, absent, wait
        /// There is no room for another.
        case full
    }

    struct Bounds {
        /// Together fewer than `UseCounts.places`.
        var present = 4096
        var absent = 1024
        var asked = 1024
        /// Nanoseconds an answer "not there" is remembered after it was last wanted.
        var absentFor: UInt64 = 60_000_000_000
        /// Nanoseconds after which one that nobody is connected to may make room for another.
        var leastIdle: UInt64 = 10_000_000_000
    }

    private(set) var entries: [String: Entry] = [:]
    private var counts: [Standing: Int] = [:]
    private var freePlaces: [Int16] = []
    private var topPlace: Int16 = 0
    private let bounds: Bounds
    /// To be told to the control plane.
    private var newKeys: Set<String> = []
    private var goneKeys: Set<String> = []

    init(_ bounds: Bounds = Bounds()) { self.bounds = bounds }

    func count(_ standing: Standing) -> Int { counts[standing] ?? 0 }

    /// Somebody wants to go there.
    ///
    /// - Parameter use: what the counts say of a place: connections there are, and when one was begun or ended last.
    mutating func want(_ key: String, now: UInt64, use: (Int16) -> (open: Int, last: UInt64)) -> Answer {
        if let known = entries[key] {
            entries[key]?.wanted = now
            switch known.standing {
            case .present: return .present
            case .absent: return .absent
            case .asked: return .wait
            }
        }
        if count(.asked) >= bounds.asked { return .full }
        if count(.present) + count(.asked) >= bounds.present, !makeRoom(now, use) { return .full }
        add(key, .asked, now)
        newKeys.insert(key)
        goneKeys.remove(key)
        return .wait
    }

    /// These are in the configuration; those the book has not asked for come from an earlier life.
    ///
    /// - Returns: their places.
    mutating func places(of keys: some Collection<String>, now: UInt64) -> [String: Int16] {
        var found: [String: Int16] = [:]
        for key in keys {
            if entries[key] == nil {
                // Dropped just now; the configuration will follow.
                if goneKeys.contains(key) { continue }
                if count(.present) + count(.asked) >= bounds.present + bounds.asked { continue }
                add(key, .present, now)
            }
            found[key] = entries[key]?.place
        }
        return found
    }

    /// What was asked for is in the configuration that has been given to the loops.
    mutating func settle(present keys: some Sequence<String>) { for key in keys { set(key, .present) } }

    /// The control plane says these are not there.
    mutating func settle(absent keys: some Sequence<String>) {
        for key in keys { set(key, .absent) }
        if count(.absent) <= bounds.absent { return }
        let oldest = entries.filter { $0.value.standing == .absent }.sorted { $0.value.wanted < $1.value.wanted }
        for (key, _) in oldest.prefix(count(.absent) - bounds.absent) { drop(key) }
    }

    /// Drops what nobody has used for long enough.
    ///
    /// - Parameter idle: nanoseconds a destination is kept after its last connection.
    /// - Returns: the destinations that were in the configuration.
    mutating func sweep(now: UInt64, idle: UInt64, use: (Int16) -> (open: Int, last: UInt64)) -> [String] {
        var dropped: [String] = []
        for (key, entry) in entries {
            let used = use(entry.place)
            if used.open > 0 { continue }
            let last = max(entry.wanted, used.last)
            let patience = entry.standing == .present ? idle : bounds.absentFor
            if now < last || now - last < patience { continue }
            drop(key)
            if entry.standing == .present { dropped.append(key) }
        }
        return dropped
    }

    /// All of the mesh is held from now on: nothing is asked for any more.
    mutating func clear() { for key in Array(entries.keys) { drop(key) } }

    /// What a new stream asks for: all that is held or waited for.
    mutating func opening() -> [String] {
        newKeys = []
        goneKeys = []
        return entries.keys.sorted()
    }

    /// What has changed since it was asked last.
    mutating func changes() -> (subscribe: [String], unsubscribe: [String]) {
        let changes = (newKeys.sorted(), goneKeys.sorted())
        newKeys = []
        goneKeys = []
        return changes
    }

    // MARK: entries

    private mutating func add(_ key: String, _ standing: Standing, _ now: UInt64) {
        let place = freePlaces.popLast() ?? topPlace
        if place == topPlace { topPlace += 1 }
        entries[key] = Entry(standing: standing, wanted: now, place: place)
        counts[standing, default: 0] += 1
    }

    private mutating func set(_ key: String, _ standing: Standing) {
        guard let entry = entries[key], entry.standing != standing else { return }
        counts[entry.standing, default: 0] -= 1
        counts[standing, default: 0] += 1
        entries[key]?.standing = standing
    }

    private mutating func drop(_ key: String) {
        guard let entry = entries.removeValue(forKey: key) else { return }
        counts[entry.standing, default: 0] -= 1
        freePlaces.append(entry.place)
        newKeys.remove(key)
        goneKeys.insert(key)
    }

    /// Drops the destination that has been idle for longest; false when all are in use.
    private mutating func makeRoom(_ now: UInt64, _ use: (Int16) -> (open: Int, last: UInt64)) -> Bool {
        var oldest: (key: String, last: UInt64)? = nil
        for (key, entry) in entries where entry.standing == .present {
            let used = use(entry.place)
            let last = max(entry.wanted, used.last)
            if used.open > 0 || now < last || now - last < bounds.leastIdle { continue }
            if oldest.map({ last < $0.last }) ?? true { oldest = (key, last) }
        }
        guard let oldest else { return false }
        drop(oldest.key)
        evicted.append(oldest.key)
        return true
    }

    /// Destinations dropped to make room, which are still in the configuration.
    private var evicted: [String] = []
    mutating func takeEvicted() -> [String] {
        let keys = evicted
        evicted = []
        return keys
    }
}
