/// A 64-bit hash that is the same in every proxy and every run.
struct StableHash {
    private(set) var value: UInt64

    init(seed: UInt64 = 0) { value = 0xCBF2_9CE4_8422_2325 ^ seed }

    @inline(__always) mutating func add(_ bytes: UnsafePointer<UInt8>, _ count: Int) {
        var hash = value
        for place in 0..<count { hash = (hash ^ UInt64(bytes[place])) &* 0x100_0000_01B3 }
        value = hash
    }

    mutating func add(_ text: String) {
        for byte in text.utf8 { value = (value ^ UInt64(byte)) &* 0x100_0000_01B3 }
        // So that "ab" and "c" are not "a" and "bc".
        value = (value ^ 0xFF) &* 0x100_0000_01B3
    }

    /// Spread over all 64 bits; never 0.
    var mixed: UInt64 { Self.mix(value) | 1 }

    @inline(__always) static func mix(_ number: UInt64) -> UInt64 {
        var mixed = (number ^ (number >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// Something a hash table leads to.
struct HashMember {
    /// The same for the same endpoint in every proxy.
    var identity: UInt64
    var weight: Int
}

/// Points on a circle, each owned by a member; a request belongs to the next point from its hash on. A member that leaves gives its
/// requests to its neighbours, and no other request moves.
enum HashRing {
    static let usualSize = 1024
    /// A member has this many points at least, for an even spread.
    static let leastPoints = 40
    static let mostPoints = 1 << 20

    /// Points of a member of weight 1. The same for most numbers of members, since one more or less shall not move the others' points.
    static func pointsEach(_ count: Int, size: Int) -> Int {
        if count > 1024 { return leastPoints }
        return min(max(leastPoints, size / 4), mostPoints / max(1, count))
    }

    static func build(_ members: [HashMember], size: Int) -> (points: [UInt32], owners: [UInt16]) {
        let each = pointsEach(members.count, size: size)
        let lightest = members.map(\.weight).min() ?? 1
        var all: [UInt64] = []
        var total = 0
        for (place, member) in members.enumerated() {
            let count = min(each * member.weight / max(1, lightest), each * 64)
            total += count
            if total > mostPoints { break }
            for point in 0..<count {
                let hash = StableHash.mix(member.identity &+ UInt64(point) &* 0x9E37_79B9_7F4A_7C15)
                all.append(hash & 0xFFFF_FFFF_0000_0000 | UInt64(place))
            }
        }
        all.sort()
        return (all.map { UInt32(truncatingIfNeeded: $0 >> 32) }, all.map { UInt16(truncatingIfNeeded: $0) })
    }

    /// Place of the first point at or after `hash`.
    @inline(__always)
    static func find(_ hash: UInt32, in points: UnsafePointer<UInt32>, _ count: Int) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low &+ high) >> 1
            if points[middle] < hash { low = middle &+ 1 } else { high = middle }
        }
        return low == count ? 0 : low
    }
}

/// A table whose places the members took in turns, each in an order of its own (Eisenbud et al., "Maglev", 2016, §3.4): evener than a
/// ring and found in one step; a member that leaves moves few requests of others.
enum Maglev {
    static let usualSize = 8191
    static let bigSize = 65537
    static let smallSize = 1021
    static let mostSize = 1_048_573

    /// A prime with room for the members: the same for most numbers of them, since another size moves everything.
    static func size(_ count: Int, wanted: Int?) -> Int {
        if let wanted { return prime(atLeast: min(mostSize, max(wanted, count))) }
        return count <= 64 ? usualSize : bigSize
    }

    static func prime(atLeast number: Int) -> Int {
        var candidate = max(3, number | 1)
        while !isPrime(candidate) { candidate += 2 }
        return candidate
    }

    private static func isPrime(_ number: Int) -> Bool {
        var divisor = 3
        while divisor * divisor <= number {
            if number % divisor == 0 { return false }
            divisor += 2
        }
        return number == 2 || number % 2 == 1
    }

    static func build(_ members: [HashMember], size: Int) -> [UInt16] {
        if members.isEmpty { return [] }
        let count = members.count
        var next = members.map { StableHash.mix($0.identity) % UInt64(size) }
        let skips = members.map { StableHash.mix($0.identity ^ 0x5851_F42D_4C95_7F2D) % UInt64(size - 1) + 1 }
        let heaviest = Double(members.map(\.weight).max() ?? 1)
        let turns = members.map { Double($0.weight) / heaviest }
        var due = [Double](repeating: 0, count: count)
        var table = [Int32](repeating: -1, count: size)
        var filled = 0
        while true {
            for member in 0..<count {
                // Lighter members take a turn less often.
                due[member] += turns[member]
                if due[member] < 1 { continue }
                due[member] -= 1
                var place = Int(next[member])
                while table[place] >= 0 {
                    place += Int(skips[member])
                    if place >= size { place -= size }
                }
                table[place] = Int32(member)
                next[member] = UInt64((place + Int(skips[member])) % size)
                filled += 1
                if filled == size { return table.map { UInt16(truncatingIfNeeded: $0) } }
            }
        }
    }
}
