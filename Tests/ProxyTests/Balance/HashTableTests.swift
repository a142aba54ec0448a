import Testing

@testable import Proxy

@Suite struct HashTableTests {
    private static func members(_ count: Int, from first: Int = 0) -> [HashMember] {
        (first..<first + count).map { HashMember(identity: StableHash.mix(UInt64($0) + 1), weight: 1) }
    }

    private static func ringOwner(_ members: [HashMember], _ hashes: [UInt64], size: Int = 1024) -> [UInt64] {
        let ring = HashRing.build(members, size: size)
        return hashes.map { hash in
            let at = HashRing.find(UInt32(truncatingIfNeeded: hash >> 32), in: ring.points, ring.points.count)
            return members[Int(ring.owners[at])].identity
        }
    }

    private static func maglevOwner(_ members: [HashMember], _ hashes: [UInt64], size: Int = 8191) -> [UInt64] {
        let table = Maglev.build(members, size: size)
        return hashes.map { members[Int(table[Int($0 % UInt64(size))])].identity }
    }

    private static let hashes = (0..<20_000).map { StableHash.mix(UInt64($0) &* 7919 &+ 13) }

    @Test("a ring moves only the requests of the one that left", arguments: [5, 9, 10, 17])
    func ringLeaves(count: Int) {
        let ten = Self.members(count)
        let before = Self.ringOwner(ten, Self.hashes)
        for leaving in [0, 4, count - 1] {
            var nine = ten
            let gone = nine.remove(at: leaving).identity
            let after = Self.ringOwner(nine, Self.hashes)
            let moved = zip(before, after).count { $0 != $1 && $0 != gone }
            #expect(moved == 0, "member \(leaving)")
            #expect(!after.contains(gone))
        }
    }

    @Test("a ring gives one that comes its share and moves nothing between the others")
    func ringJoins() {
        let before = Self.ringOwner(Self.members(10), Self.hashes)
        let eleven = Self.members(11)
        let after = Self.ringOwner(eleven, Self.hashes)
        let new = eleven[10].identity
        #expect(zip(before, after).allSatisfy { $0 == $1 || $1 == new })
        let share = Double(after.count { $0 == new }) / Double(after.count)
        #expect(share > 0.03 && share < 0.18, "\(share)")
    }

    @Test("a ring's shares are even within a factor, and follow weights")
    func ringShares() {
        let owners = Self.ringOwner(Self.members(8), Self.hashes)
        for member in Self.members(8) {
            let share = Double(owners.count { $0 == member.identity }) / Double(owners.count)
            #expect(share > 0.125 * 0.6 && share < 0.125 * 1.5, "\(share)")
        }
        var weighted = Self.members(2)
        weighted[1].weight = 3
        let heavy = Self.ringOwner(weighted, Self.hashes).count { $0 == weighted[1].identity }
        let share = Double(heavy) / Double(Self.hashes.count)
        #expect(share > 0.65 && share < 0.85, "\(share)")
    }

    @Test("Maglev moves few requests of those that stay", arguments: [3, 10, 50])
    func maglevLeaves(count: Int) {
        let all = Self.members(count)
        let before = Self.maglevOwner(all, Self.hashes)
        var fewer = all
        let gone = fewer.remove(at: count / 2).identity
        let after = Self.maglevOwner(fewer, Self.hashes)
        #expect(!after.contains(gone))
        let moved = zip(before, after).count { $0 != $1 && $0 != gone }
        #expect(Double(moved) / Double(Self.hashes.count) < 0.05, "\(moved)")
    }

    @Test("Maglev's shares are even within a few percent, and follow weights")
    func maglevShares() {
        let owners = Self.maglevOwner(Self.members(10), Self.hashes)
        for member in Self.members(10) {
            let share = Double(owners.count { $0 == member.identity }) / Double(owners.count)
            #expect(abs(share - 0.1) < 0.015, "\(share)")
        }
        var weighted = Self.members(3)
        weighted[2].weight = 2
        let table = Maglev.build(weighted, size: 8191)
        let share = Double(table.count { $0 == 2 }) / 8191
        #expect(abs(share - 0.5) < 0.01, "\(share)")
    }

    @Test("hash tables are the same whatever the order of the members' coming", arguments: [true, false])
    func order(isRing: Bool) {
        // The builder gives members in the order of the backend; proxies get it in the same order. A ring does not need even that.
        let members = Self.members(6)
        let shuffled = [members[3], members[0], members[5], members[1], members[4], members[2]]
        if isRing {
            #expect(Self.ringOwner(members, Self.hashes) == Self.ringOwner(shuffled, Self.hashes))
        } else {
            #expect(Self.maglevOwner(members, Self.hashes) == Self.maglevOwner(members, Self.hashes))
        }
    }

    @Test("10,000 members have small tables, and each has a place")
    func many() {
        let members = Self.members(10_000)
        let ring = HashRing.build(members, size: HashRing.usualSize)
        #expect(ring.points.count * 6 < 3 << 20)
        #expect(Set(ring.owners).count == 10_000)
        #expect(zip(ring.points, ring.points.dropFirst()).allSatisfy { $0 <= $1 })
        let size = Maglev.size(10_000, wanted: nil)
        #expect(size == 65537)
        #expect(Set(Maglev.build(members, size: size)).count == 10_000)
        #expect(Maglev.size(10_000, wanted: 100) >= 10_000)
    }

    @Test("table sizes are prime", arguments: [Maglev.smallSize, Maglev.usualSize, Maglev.bigSize, Maglev.mostSize])
    func primes(size: Int) {
        #expect(Maglev.prime(atLeast: size) == size)
    }
}
