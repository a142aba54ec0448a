import Glibc
import Wire

/// A chunked body that stands in memory, in part or whole.
enum ChunkedText {
    /// Takes the framing out of a whole chunked body, in place.
    /// - Returns: the content's length.
    static func unframe(_ bytes: Bytes, _ count: Int) -> Int { content(bytes, count, most: .max, into: bytes).count }

    /// The content that stands among the first `count` bytes, up to `most` of it, copied when there is a place for it.
    ///
    /// - Returns: its length, and whether it is all of the body.
    static func content(
        _ bytes: UnsafePointer<UInt8>, _ count: Int, most: Int, into out: Bytes?
    ) -> (count: Int, isWhole: Bool) {
        var scanner = ChunkScanner()
        var place = 0
        var length = 0
        while place < count && !scanner.isBad && !scanner.isDone {
            guard scanner.state == .data else {
                _ = scanner.scan(bytes + place, 1)
                place += 1
                continue
            }
            let run = min(scanner.remaining, count - place)
            let taken = min(run, most - length)
            if let out { memmove(out + length, bytes + place, taken) }
            length += taken
            if taken < run { return (length, false) }
            _ = scanner.scan(bytes + place, run)
            place += run
        }
        return (length, scanner.isDone)
    }
}
