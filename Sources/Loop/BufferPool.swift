import Glibc

/// Plain byte buffers of four sizes, kept for reuse by one loop.
///
/// When there may be no more buffers, or the system has no memory for one, they come from a reserve: what is in progress
/// ends well on it, and nothing new should begin (`isShort`). When that is used up too, work in progress goes beyond the
/// limit, by one buffer or two for each request that had begun.
package struct BufferPool: ~Copyable {
    /// 4, 16, 64 and 256 KiB: a head, a usual body, a head at its limit, bulk.
    package static let classes = 4
    package static func size(_ sizeClass: UInt8) -> Int { 4096 << (Int(sizeClass) * 2) }

    /// The smallest class with room for `count` bytes; `nil` beyond 256 KiB.
    package static func sizeClass(for count: Int) -> UInt8? {
        if count <= 4096 { return 0 }
        if count <= 16384 { return 1 }
        if count <= 65536 { return 2 }
        return count <= 262_144 ? 3 : nil
    }

    private static let kept = [512, 256, 32, 16]
    private let free: UnsafeMutablePointer<UnsafeMutablePointer<UInt8>>
    private let counts: UnsafeMutablePointer<Int>
    private let limits: UnsafeMutablePointer<Int>
    private static let stride = 512
    /// Taken and not given back.
    private let used: UnsafeMutablePointer<Int>
    private let reserve: BufferReserve
    private let limit: Int

    /// `limit`: how many bytes the pool may have from the system, in use or kept.
    package init(limit: Int = .max) {
        self.limit = limit
        free = .allocate(capacity: Self.stride * Self.classes)
        counts = .allocate(capacity: Self.classes)
        counts.initialize(repeating: 0, count: Self.classes)
        limits = .allocate(capacity: Self.classes)
        for place in 0..<Self.classes { limits[place] = Self.kept[place] }
        used = .allocate(capacity: Self.classes)
        used.initialize(repeating: 0, count: Self.classes)
        reserve = BufferReserve(slotSize: Self.size(UInt8(Self.classes - 1)))
    }

    deinit {
        freeKept()
        free.deallocate()
        counts.deallocate()
        limits.deallocate()
        used.deallocate()
    }

    package var bytesInUse: Int {
        var bytes = 0
        for place in 0..<Self.classes { bytes += used[place] * Self.size(UInt8(place)) }
        return bytes
    }

    private func freeKept() {
        for sizeClass in 0..<Self.classes {
            for place in 0..<counts[sizeClass] { Glibc.free(free[sizeClass * Self.stride + place]) }
            counts[sizeClass] = 0
        }
    }

    private func allocate(_ sizeClass: UInt8) -> UnsafeMutablePointer<UInt8>? {
        let size = Self.size(sizeClass)
        if bytesInUse &+ bytesKept &+ size > limit {
            freeKept()
            if bytesInUse &+ size > limit { return nil }
        }
        return malloc(size)?.assumingMemoryBound(to: UInt8.self)
    }

    private var bytesKept: Int {
        var bytes = 0
        for place in 0..<Self.classes { bytes += counts[place] * Self.size(UInt8(place)) }
        return bytes
    }

    /// Whether buffers in use come from the reserve.
    package var isShort: Bool { reserve.isInUse }

    /// For work in progress.
    package func take(_ sizeClass: UInt8) -> UnsafeMutablePointer<UInt8> {
        if let buffer = take(sizeClass, leaving: 0) { return buffer }
        freeKept()
        guard let memory = malloc(Self.size(sizeClass)) else {
            fatalError("the system has no memory for a request in progress")
        }
        used[Int(sizeClass)] &+= 1
        return memory.assumingMemoryBound(to: UInt8.self)
    }

    /// For what can be refused; `nil` when there is no memory and half of the reserve is taken.
    package func takeIfAny(_ sizeClass: UInt8) -> UnsafeMutablePointer<UInt8>? {
        take(sizeClass, leaving: BufferReserve.slots / 2)
    }

    @inline(__always)
    private func take(_ sizeClass: UInt8, leaving slots: Int) -> UnsafeMutablePointer<UInt8>? {
        let place = Int(sizeClass)
        let count = counts[place]
        if count > 0 {
            used[place] &+= 1
            counts[place] = count &- 1
            return free[place &* Self.stride &+ count &- 1]
        }
        guard let memory = allocate(sizeClass) ?? reserve.take(leaving: slots) else { return nil }
        used[place] &+= 1
        return memory
    }

    package func give(_ buffer: UnsafeMutablePointer<UInt8>, _ sizeClass: UInt8) {
        let place = Int(sizeClass)
        let count = counts[place]
        used[place] &-= 1
        if reserve.isInUse && reserve.giveBack(buffer) { return }
        if count < limits[place] {
            free[place &* Self.stride &+ count] = buffer
            counts[place] = count &+ 1
        } else {
            Glibc.free(buffer)
        }
    }
}
