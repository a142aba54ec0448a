import CZlib

/// Packs an answer piece by piece (RFC 1952), at the level that costs least.
///
/// `@unchecked Sendable`: one task uses it, piece after piece.
final class GzipStream: @unchecked Sendable {
    /// Shorter answers are sent as they are.
    static let threshold = 128 << 10

    private let stream: UnsafeMutablePointer<z_stream>

    /// `nil` when there is no memory for it.
    init?() {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        // 15 bits of window, +16: gzip.
        let code = deflateInit2_(
            stream, Z_BEST_SPEED, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
            CInt(MemoryLayout<z_stream>.size))
        guard code == Z_OK else {
            stream.deallocate()
            return nil
        }
    }

    deinit {
        deflateEnd(stream)
        stream.deallocate()
    }

    /// What is ready to be sent after this piece; all of it after the last.
    func pack(_ bytes: [UInt8], isLast: Bool) -> [UInt8] {
        var out: [UInt8] = []
        var bytes = bytes
        bytes.withUnsafeMutableBufferPointer { input in
            stream.pointee.next_in = input.baseAddress
            stream.pointee.avail_in = UInt32(input.count)
            let room = 64 << 10
            while true {
                let chunk = [UInt8](unsafeUninitializedCapacity: room) { space, count in
                    stream.pointee.next_out = space.baseAddress
                    stream.pointee.avail_out = UInt32(room)
                    _ = deflate(stream, isLast ? Z_FINISH : Z_NO_FLUSH)
                    count = room - Int(stream.pointee.avail_out)
                }
                if out.isEmpty { out = chunk } else { out += chunk }
                if chunk.count < room { break }
            }
            stream.pointee.next_in = nil
        }
        return out
    }

    /// RFC 9110 §12.5.3: `gzip` or `*`, unless with a weight of 0.
    static func isAccepted(_ header: String?) -> Bool {
        guard let header else { return false }
        return MediaRange.list(header).contains { range in
            guard range.type == "gzip" || range.type == "*" else { return false }
            return Double(range.parameters["q"] ?? "1") ?? 0 > 0
        }
    }
}
