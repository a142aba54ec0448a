import CZlib
import Glibc
import Kernel

/// A blob read from front to back: hashed as stored, unpacked when it is gzip.
final class BlobStream {
    private let file: OwnedDescriptor
    private let name: String
    private let digest = DigestStream()
    private var inflater: UnsafeMutablePointer<z_stream>?
    private var stored: [UInt8] = []
    private var storedPlace = 0
    private var hasEnded = false
    private var ready: [UInt8] = []
    private var place = 0

    init(path: String, name: String) throws(RuntimeFailure) {
        self.name = name
        file = try attempting("open the blob of \(name)") { () throws(SystemCallFailed) in
            try OwnedDescriptor.open(path, flags: O_RDONLY)
        }
        try fillStored()
        if stored.starts(with: [0x1F, 0x8B]) {
            let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
            stream.initialize(to: z_stream())
            // 15 bits of window, +16: gzip.
            guard inflateInit2_(stream, 31, ZLIB_VERSION, CInt(MemoryLayout<z_stream>.size)) == Z_OK else {
                stream.deallocate()
                throw RuntimeFailure(.kernel, "no memory to unpack \(name)")
            }
            inflater = stream
        } else if stored.starts(with: [0x28, 0xB5, 0x2F, 0xFD]) {
            throw RuntimeFailure(
                .badImage, "\(name) is compressed with zstd, which this version cannot unpack; use gzip")
        }
    }

    deinit {
        if let inflater {
            inflateEnd(inflater)
            inflater.deallocate()
        }
    }

    /// The digest of the whole blob as stored; reads what is left of it.
    func finish() throws(RuntimeFailure) -> String {
        while !hasEnded { try fillStored() }
        return digest.finish()
    }

    private func fillStored() throws(RuntimeFailure) {
        var space = [UInt8](repeating: 0, count: 128 << 10)
        let count = read(file.number, &space, space.count)
        let code = errno
        guard count >= 0 else { throw RuntimeFailure(.kernel, "read the blob of \(name): errno \(code)") }
        space.removeLast(space.count - count)
        digest.update(space)
        hasEnded = count == 0
        stored = space
        storedPlace = 0
    }

    /// Makes more unpacked bytes ready; false at the end.
    private func fill() throws(RuntimeFailure) -> Bool {
        place = 0
        ready = []
        guard let inflater else {
            if storedPlace >= stored.count, !hasEnded { try fillStored() }
            ready = storedPlace == 0 ? stored : Array(stored[storedPlace...])
            storedPlace = stored.count
            return !ready.isEmpty
        }
        var space = [UInt8](repeating: 0, count: 256 << 10)
        while true {
            if storedPlace >= stored.count {
                if hasEnded { return false }
                try fillStored()
                if hasEnded { return false }
            }
            let result = stored.withUnsafeMutableBufferPointer { input in
                space.withUnsafeMutableBufferPointer { output in
                    inflater.pointee.next_in = input.baseAddress.map { $0 + storedPlace }
                    inflater.pointee.avail_in = UInt32(input.count - storedPlace)
                    inflater.pointee.next_out = output.baseAddress
                    inflater.pointee.avail_out = UInt32(output.count)
                    return inflate(inflater, Z_NO_FLUSH)
                }
            }
            storedPlace = stored.count - Int(inflater.pointee.avail_in)
            let made = space.count - Int(inflater.pointee.avail_out)
            switch result {
            case Z_OK, Z_BUF_ERROR: break
            // gzip files may follow one another.
            case Z_STREAM_END: inflateReset(inflater)
            default:
                throw RuntimeFailure(
                    .badImage, "\(name) is damaged: its gzip data cannot be unpacked (zlib says \(result))")
            }
            if made > 0 {
                ready = Array(space[..<made])
                return true
            }
        }
    }

    /// Hands out `count` bytes in pieces.
    func take(_ count: Int, _ piece: (UnsafeRawBufferPointer) throws(RuntimeFailure) -> Void) throws(RuntimeFailure) {
        var left = count
        while left > 0 {
            if place >= ready.count, try !fill() {
                throw RuntimeFailure(.badImage, "\(name) is cut short: \(left) bytes are missing")
            }
            let size = min(left, ready.count - place)
            let result = ready.withUnsafeBytes { bytes -> Result<Void, RuntimeFailure> in
                do throws(RuntimeFailure) {
                    try piece(UnsafeRawBufferPointer(rebasing: bytes[place..<place + size]))
                    return .success(())
                } catch {
                    return .failure(error)
                }
            }
            try result.get()
            place += size
            left -= size
        }
    }

    func bytes(_ count: Int) throws(RuntimeFailure) -> [UInt8] {
        var taken: [UInt8] = []
        taken.reserveCapacity(count)
        try take(count) { piece throws(RuntimeFailure) in taken += piece }
        return taken
    }

    func skip(_ count: Int) throws(RuntimeFailure) {
        try take(count) { _ throws(RuntimeFailure) in }
    }

    /// Whether unpacked bytes are left.
    func hasMore() throws(RuntimeFailure) -> Bool {
        if place < ready.count { return true }
        return try fill()
    }
}
