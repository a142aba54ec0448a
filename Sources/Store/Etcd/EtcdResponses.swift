import Wire

/// What etcd answers (etcdserverpb and mvccpb of etcd's v3 API). Fields we have no use for are skipped.
struct EtcdKeyValue {
    var key: [UInt8] = []
    var created: Int64 = 0
    var modified: Int64 = 0
    /// How often it was written since it was made.
    var version: Int64 = 0
    var value: [UInt8] = []
    var lease: Int64 = 0

    init(_ reader: ProtobufReader) throws(ProtobufFault) {
        var reader = reader
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 1: key = Array(try reader.bytes(tag))
            case 2: created = try reader.int64(tag)
            case 3: modified = try reader.int64(tag)
            case 4: version = try reader.int64(tag)
            case 5: value = Array(try reader.bytes(tag))
            case 6: lease = try reader.int64(tag)
            default: try reader.skip(tag)
            }
        }
    }

    var keyText: String { String(decoding: key, as: UTF8.self) }
    var record: Record { Record(key: keyText, value: value, revision: modified, created: created, lease: lease) }
}

/// The revision in a ResponseHeader.
private func headerRevision(_ reader: ProtobufReader) throws(ProtobufFault) -> Int64 {
    var reader = reader
    var revision: Int64 = 0
    while let tag = try reader.nextTag() {
        if tag.field == 3 { revision = try reader.int64(tag) } else { try reader.skip(tag) }
    }
    return revision
}

struct EtcdRangeResponse {
    var revision: Int64 = 0
    var records: [EtcdKeyValue] = []
    var more = false
    var count: Int64 = 0

    init(_ bytes: [UInt8]) throws(ProtobufFault) { try self.init(ProtobufReader(bytes)) }

    init(_ reader: ProtobufReader) throws(ProtobufFault) {
        var reader = reader
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 1: revision = try headerRevision(try reader.message(tag))
            case 2: records.append(try EtcdKeyValue(try reader.message(tag)))
            case 3: more = try reader.bool(tag)
            case 4: count = try reader.int64(tag)
            default: try reader.skip(tag)
            }
        }
    }
}

struct EtcdTransactionResponse {
    var revision: Int64 = 0
    var succeeded = false
    /// What the key holds, when the transaction read it.
    var current: EtcdKeyValue?

    init(_ bytes: [UInt8]) throws(ProtobufFault) {
        var reader = ProtobufReader(bytes)
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 1: revision = try headerRevision(try reader.message(tag))
            case 2: succeeded = try reader.bool(tag)
            case 3:
                var operation = try reader.message(tag)
                while let inner = try operation.nextTag() {
                    guard inner.field == 1 else {
                        try operation.skip(inner)
                        continue
                    }
                    current = try EtcdRangeResponse(try operation.message(inner)).records.first
                }
            default: try reader.skip(tag)
            }
        }
    }
}

struct EtcdWatchResponse {
    struct Event {
        var isDeletion = false
        var record: EtcdKeyValue
    }

    var revision: Int64 = 0
    var isCreated = false
    var isCancelled = false
    /// Not 0: what was to be watched is compacted up to here.
    var compacted: Int64 = 0
    var reason = ""
    /// More events of the same revision follow in the next response.
    var isFragment = false
    var events: [Event] = []

    init(_ bytes: [UInt8]) throws(ProtobufFault) {
        var reader = ProtobufReader(bytes)
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 1: revision = try headerRevision(try reader.message(tag))
            case 3: isCreated = try reader.bool(tag)
            case 4: isCancelled = try reader.bool(tag)
            case 5: compacted = try reader.int64(tag)
            case 6: reason = try reader.string(tag)
            case 7: isFragment = try reader.bool(tag)
            case 11: if let event = try Self.event(try reader.message(tag)) { events.append(event) }
            default: try reader.skip(tag)
            }
        }
    }

    private static func event(_ reader: ProtobufReader) throws(ProtobufFault) -> Event? {
        var reader = reader
        var isDeletion = false
        var record: EtcdKeyValue?
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 1: isDeletion = try reader.int32(tag) == 1
            case 2: record = try EtcdKeyValue(try reader.message(tag))
            default: try reader.skip(tag)
            }
        }
        return record.map { Event(isDeletion: isDeletion, record: $0) }
    }
}

/// Of LeaseGrant and of LeaseKeepAlive: both have the lease in the same fields.
struct EtcdLeaseResponse {
    var id: Int64 = 0
    /// 0 in a LeaseKeepAlive's answer: the lease is gone.
    var seconds: Int64 = 0

    init(_ bytes: [UInt8]) throws(ProtobufFault) {
        var reader = ProtobufReader(bytes)
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 2: id = try reader.int64(tag)
            case 3: seconds = try reader.int64(tag)
            default: try reader.skip(tag)
            }
        }
    }
}

struct EtcdStatusResponse {
    var version = ""
    /// 0: the member knows no leader.
    var leader: UInt64 = 0

    init(_ bytes: [UInt8]) throws(ProtobufFault) {
        var reader = ProtobufReader(bytes)
        while let tag = try reader.nextTag() {
            switch tag.field {
            case 2: version = try reader.string(tag)
            case 4: leader = try reader.varint(tag)
            default: try reader.skip(tag)
            }
        }
    }
}
