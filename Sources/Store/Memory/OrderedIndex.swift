/// Records in the order of their keys. A copy is a snapshot: it costs nothing until one of the two changes, and then one chunk.
package struct OrderedIndex: Sendable {
    private static let chunkLimit = 256
    /// Each sorted and not empty; every key of one is less than every key of the next.
    private var chunks: [[Record]] = []
    package private(set) var count = 0

    package init() {}

    package subscript(key: String) -> Record? {
        guard let (chunk, place) = find(key), place < chunks[chunk].count else { return nil }
        let record = chunks[chunk][place]
        return record.key == key ? record : nil
    }

    mutating func put(_ record: Record) {
        guard let (chunk, place) = find(record.key) else {
            chunks.append([record])
            count += 1
            return
        }
        if place < chunks[chunk].count, chunks[chunk][place].key == record.key {
            chunks[chunk][place] = record
            return
        }
        chunks[chunk].insert(record, at: place)
        count += 1
        let size = chunks[chunk].count
        if size > Self.chunkLimit {
            let upper = Array(chunks[chunk][(size / 2)...])
            chunks[chunk].removeSubrange((size / 2)...)
            chunks.insert(upper, at: chunk + 1)
        }
    }

    mutating func remove(_ key: String) {
        guard let (chunk, place) = find(key), place < chunks[chunk].count, chunks[chunk][place].key == key else {
            return
        }
        chunks[chunk].remove(at: place)
        count -= 1
        if chunks[chunk].isEmpty { chunks.remove(at: chunk) }
    }

    /// Visits records whose key begins with `prefix` and comes after `after`, in order, until `body` returns `false`.
    package func visit(under prefix: String, after: String? = nil, _ body: (Record) throws -> Bool) rethrows {
        var start = prefix
        if let after, after > prefix { start = after }
        guard var (chunk, place) = find(start) else { return }
        while chunk < chunks.count {
            while place < chunks[chunk].count {
                let record = chunks[chunk][place]
                guard record.key.hasPrefix(prefix) else { return }
                if record.key != after, try !body(record) { return }
                place += 1
            }
            chunk += 1
            place = 0
        }
    }

    /// The chunk that holds or would hold the key, and the first place in it not less than the key.
    private func find(_ key: String) -> (chunk: Int, place: Int)? {
        if chunks.isEmpty { return nil }
        var low = 0
        var high = chunks.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if chunks[middle][0].key <= key { low = middle } else { high = middle }
        }
        let chunk = low
        low = 0
        high = chunks[chunk].count
        while low < high {
            let middle = (low + high) / 2
            if chunks[chunk][middle].key < key { low = middle + 1 } else { high = middle }
        }
        return (chunk, low)
    }
}

/// The store at one revision.
package struct StoreSnapshot: Sendable {
    package let index: OrderedIndex
    package let revision: Int64
}
