import Glibc

/// Plain byte buffers of four sizes, kept for reuse by one loop.
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

    package init() {
        free = .allocate(capacity: Self.stride * Self.classes)
        counts = .allocate(capacity: Self.classes)
        counts.initialize(repeating: 0, count: Self.classes)
        limits = .allocate(capacity: Self.classes)
        for place in 0..<Self.classes { limits[place] = Self.kept[place] }
        used = .allocate(capacity: Self.classes)
        used.initialize(repeating: 0, count: Self.classes)
    }

    deinit {
        for sizeClass in 0..<Self.classes {
            for place in 0..<counts[sizeClass] { Glibc.free(free[sizeClass * Self.stride + place]) }
        }
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

    package func take(_ sizeClass: UInt8) -> UnsafeMutablePointer<UInt8> {
        let place = Int(sizeClass)
        let count = counts[place]
        used[place] &+= 1
        if count > 0 {
            counts[place] = count &- 1
            return free[place &* Self.stride &+ count &- 1]
        }
        guard let memory = malloc(Self.size(sizeClass)) else { fatalError("out of memory for a connection's buffer") }
        return memory.assumingMemoryBound(to: UInt8.self)
    }

    package func give(_ buffer: UnsafeMutablePointer<UInt8>, _ sizeClass: UInt8) {
        let place = Int(sizeClass)
        let count = counts[place]
        used[place] &-= 1
        if count < limits[place] {
            free[place &* Self.stride &+ count] = buffer
            counts[place] = count &+ 1
        } else {
            Glibc.free(buffer)
        }
    }
}
