import CZlib

/// The checksum stored beside each record: CRC-32 (RFC 1952 §8) over revision, creation, lease (8 bytes each, little-endian), the
/// key's length (4 bytes), the key, whether there is a value (1 byte), and the value.
enum RecordChecksum {
    static func of(revision: Int64, key: String, created: Int64, lease: Int64, value: [UInt8]?) -> Int64 {
        var head: [UInt8] = []
        head.reserveCapacity(29 + key.utf8.count)
        for number in [revision, created, lease] {
            for shift in stride(from: 0, to: 64, by: 8) {
                head.append(UInt8(truncatingIfNeeded: number >> Int64(shift)))
            }
        }
        let length = UInt32(key.utf8.count)
        for shift in stride(from: 0, to: 32, by: 8) { head.append(UInt8(truncatingIfNeeded: length >> UInt32(shift))) }
        head.append(contentsOf: key.utf8)
        head.append(value == nil ? 0 : 1)
        let start = head.withUnsafeBufferPointer { crc32_z(0, $0.baseAddress, $0.count) }
        guard let value, !value.isEmpty else { return Int64(start) }
        return Int64(value.withUnsafeBufferPointer { crc32_z(start, $0.baseAddress, $0.count) })
    }
}

/// One checksum over those of many records, in the order of their revisions.
struct ChecksumOfAll {
    private(set) var value: Int64 = 0

    mutating func add(_ checksum: Int64) {
        var bytes: [UInt8] = []
        for shift in stride(from: 0, to: 32, by: 8) {
            bytes.append(UInt8(truncatingIfNeeded: checksum >> Int64(shift)))
        }
        value = Int64(bytes.withUnsafeBufferPointer { crc32_z(UInt(value), $0.baseAddress, $0.count) })
    }
}
