/// Where a routing table's arrays stand, and the objects they point to; all of it goes with the table.
///
/// Arrays are plain memory, so that looking something up on the way of a request costs no reference count.
final class TableMemory {
    private var pieces: [UnsafeMutableRawPointer] = []
    private var objects: [AnyObject] = []

    deinit { for piece in pieces { piece.deallocate() } }

    /// - Parameter entries: trivial values; what they point to is kept otherwise.
    func keep<Entry>(_ entries: [Entry]) -> UnsafeMutablePointer<Entry> {
        let memory = plain(entries)
        pieces.append(UnsafeMutableRawPointer(memory))
        return memory
    }

    func keep<Object: AnyObject>(object: Object) -> Unmanaged<Object> {
        objects.append(object)
        return .passUnretained(object)
    }
}

/// Entries as memory of their own, which its owner frees.
func plain<Entry>(_ entries: [Entry]) -> UnsafeMutablePointer<Entry> {
    assert(_isPOD(Entry.self), "\(Entry.self) holds references, which plain memory does not count")
    let memory = UnsafeMutablePointer<Entry>.allocate(capacity: max(1, entries.count))
    for (place, entry) in entries.enumerated() { (memory + place).initialize(to: entry) }
    return memory
}
