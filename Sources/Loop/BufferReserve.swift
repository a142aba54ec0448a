import Glibc

/// Address space for a bounded number of buffers, of any size. It has no memory until it is touched.
struct BufferReserve: ~Copyable {
    static let slots = 64

    private let slotSize: Int
    private let memory: UnsafeMutablePointer<UInt8>
    /// Free slots, and after them how many these are.
    private let free: UnsafeMutablePointer<Int>

    init(slotSize: Int) {
        self.slotSize = slotSize
        let size = slotSize * Self.slots
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        guard let mapped = mmap(nil, size, PROT_READ | PROT_WRITE, flags, -1, 0), mapped != MAP_FAILED else {
            fatalError("no address space for a loop's reserve of \(size >> 20) MiB")
        }
        memory = mapped.bindMemory(to: UInt8.self, capacity: size)
        free = .allocate(capacity: Self.slots + 1)
        for slot in 0..<Self.slots { free[slot] = slot }
        free[Self.slots] = Self.slots
    }

    deinit {
        munmap(memory, slotSize * Self.slots)
        free.deallocate()
    }

    @inline(__always)
    var isInUse: Bool { free[Self.slots] < Self.slots }

    /// - Returns: a slot, unless only so many or fewer are left.
    func take(leaving least: Int) -> UnsafeMutablePointer<UInt8>? {
        let count = free[Self.slots]
        if count <= least { return nil }
        free[Self.slots] = count - 1
        return memory + free[count - 1] * slotSize
    }

    /// False when the buffer is not of the reserve. The system has its memory back at once.
    func giveBack(_ buffer: UnsafeMutablePointer<UInt8>) -> Bool {
        let place = buffer - memory
        guard place >= 0, place < slotSize * Self.slots else { return false }
        madvise(buffer, slotSize, MADV_DONTNEED)
        let count = free[Self.slots]
        free[count] = place / slotSize
        free[Self.slots] = count + 1
        return true
    }
}
