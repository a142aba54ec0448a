import Glibc

/// The last records of one loop, in memory that costs nothing until it is used; the oldest go first.
struct RecordHistory: ~Copyable {
    private var records: RecordPointer
    private(set) var capacity: Int
    /// All that were ever kept here.
    private(set) var kept = 0
    private static let stride = MemoryLayout<RequestRecord>.stride

    init(bytes: Int) {
        capacity = max(1, bytes / Self.stride)
        records = Self.memory(capacity)
    }

    deinit { munmap(records, capacity * Self.stride) }

    static func memory(_ capacity: Int) -> RecordPointer {
        guard let memory = tryMemory(capacity) else {
            StartFault.end(reserving: capacity * stride, for: "request records")
        }
        return memory
    }

    private static func tryMemory(_ capacity: Int) -> RecordPointer? {
        let memory = mmap(
            nil, capacity * stride, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
        guard let memory, memory != MAP_FAILED else { return nil }
        return memory.bindMemory(to: RequestRecord.self, capacity: capacity)
    }

    static func release(_ records: RecordPointer, _ capacity: Int) { munmap(records, capacity * stride) }

    /// Another size forgets what was kept. Where there is no memory for it, all stays as it is.
    mutating func resize(bytes: Int) {
        let wanted = max(1, bytes / Self.stride)
        if wanted == capacity { return }
        guard let memory = Self.tryMemory(wanted) else {
            log("no memory for \(wanted) request records; \(capacity) are kept as before", level: "warning")
            return
        }
        munmap(records, capacity * Self.stride)
        capacity = wanted
        records = memory
        kept = 0
    }

    @inline(__always)
    mutating func add(_ record: RecordPointer) {
        records.advanced(by: kept % capacity).take(from: record)
        kept &+= 1
    }

    /// Up to `most` records, from the newest but `skipping` back.
    func copy(skipping: Int, most: Int) -> [RequestRecord] {
        let held = min(kept, capacity)
        var found: [RequestRecord] = []
        var place = skipping
        while place < held && found.count < most {
            found.append(records[(kept - 1 - place) % capacity])
            place += 1
        }
        return found
    }
}

extension UnsafeMutablePointer where Pointee == RequestRecord {
    /// Copies a record, and of its text only what is used.
    @inline(__always)
    func take(from other: RecordPointer) {
        memcpy(self, other, Self.textOffset &+ Int(other.pointee.textCount))
    }
}
