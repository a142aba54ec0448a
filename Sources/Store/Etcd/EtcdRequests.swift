import Wire

/// What etcd is asked, as protobuf (etcdserverpb of etcd's v3 API). Fields that are zero or empty are left out, as proto3 has it.
enum EtcdRequest {
    struct Range {
        var key: [UInt8]
        /// Exclusive; empty asks for the one key.
        var end: [UInt8] = []
        var limit: Int64 = 0
        /// 0 is now.
        var revision: Int64 = 0
        var countOnly = false

        var bytes: [UInt8] {
            var writer = ProtobufWriter()
            writer.bytes(1, key)
            if !end.isEmpty { writer.bytes(2, end) }
            if limit != 0 { writer.int64(3, limit) }
            if revision != 0 { writer.int64(4, revision) }
            if countOnly { writer.bool(9, true) }
            return writer.bytes
        }
    }

    /// What must be true of a key for a transaction to be done.
    enum Condition {
        /// The key was last written at this revision; 0: it is not there.
        case modified(Int64)
        /// The key is there.
        case present
        /// The key was written so often since it was made.
        case version(Int64)

        /// Compare: result (1) EQUAL is 0 and GREATER is 1; target (2) VERSION is 0, CREATE is 1, MOD is 2.
        func write(_ key: [UInt8], _ writer: inout ProtobufWriter) {
            if case .present = self { writer.int32(1, 1) }
            switch self {
            case .version: break
            case .present: writer.int32(2, 1)
            case .modified: writer.int32(2, 2)
            }
            writer.bytes(3, key)
            switch self {
            case .version(let version): writer.int64(4, version)
            case .present: writer.int64(5, 0)
            case .modified(let revision): writer.int64(6, revision)
            }
        }
    }

    enum Operation {
        case range(Range)
        case put(key: [UInt8], value: [UInt8], lease: Int64)
        case delete(key: [UInt8])

        func write(_ writer: inout ProtobufWriter) {
            switch self {
            case .range(let range): writer.bytes(1, range.bytes)
            case .put(let key, let value, let lease):
                writer.bytes(2, EtcdRequest.put(key: key, value: value, lease: lease))
            case .delete(let key): writer.message(3) { $0.bytes(1, key) }
            }
        }
    }

    static func put(key: [UInt8], value: [UInt8], lease: Int64 = 0) -> [UInt8] {
        var writer = ProtobufWriter()
        writer.bytes(1, key)
        if !value.isEmpty { writer.bytes(2, value) }
        if lease != 0 { writer.int64(3, lease) }
        return writer.bytes
    }

    /// One condition over one key, and what to do when it holds or not.
    struct Transaction {
        var key: [UInt8]
        var condition: Condition
        var success: Operation
        var failure: Operation?

        var bytes: [UInt8] {
            var writer = ProtobufWriter()
            writer.message(1) { condition.write(key, &$0) }
            writer.message(2) { success.write(&$0) }
            if let failure { writer.message(3) { failure.write(&$0) } }
            return writer.bytes
        }
    }

    static func leaseGrant(seconds: Int64) -> [UInt8] {
        var writer = ProtobufWriter()
        writer.int64(1, seconds)
        return writer.bytes
    }

    /// Also of a LeaseKeepAlive.
    static func lease(_ id: Int64) -> [UInt8] {
        var writer = ProtobufWriter()
        writer.int64(1, id)
        return writer.bytes
    }

    static func compact(to revision: Int64) -> [UInt8] {
        var writer = ProtobufWriter()
        writer.int64(1, revision)
        return writer.bytes
    }

    /// A watch over a range; a revision's events may come in several responses, of which all but the last say so.
    static func watch(key: [UInt8], end: [UInt8], from revision: Int64) -> [UInt8] {
        var writer = ProtobufWriter()
        writer.message(1) { create in
            create.bytes(1, key)
            create.bytes(2, end)
            create.int64(3, revision)
            create.bool(8, true)
        }
        return writer.bytes
    }

    /// Asks a watch stream how far it is.
    static let watchProgress: [UInt8] = {
        var writer = ProtobufWriter()
        writer.bytes(3, [])
        return writer.bytes
    }()
}

extension [UInt8] {
    /// The first key after all that begin with these bytes; "\0", which etcd takes for "to the end", when there is none.
    var prefixEnd: [UInt8] {
        var end = self
        while let last = end.popLast() {
            if last < 0xFF { return end + [last + 1] }
        }
        return [0]
    }
}
