import CKernel
import Glibc
import Kernel

/// Gives back what only the start needed, some time after it: pages of program text that ran once, and freed heap.
///
/// A proxy is most of its life idle, and there is one beside every app. Text pages come back from the page cache when they are needed again.
enum StartPages {
    /// Milliseconds after the start by which handshakes, parsing and table building are behind us.
    static let delay: UInt32 = 1000

    static func giveBackLater() {
        let thread = Thread.start("weft-tidy") {
            usleep(delay * 1000)
            giveBack()
        }
        pthread_detach(thread)
    }

    static func giveBack() {
        weft_trim_heap()
        guard let bytes = try? SmallFile.read("/proc/self/smaps") else { return }
        for mapping in clean(String(decoding: bytes, as: UTF8.self)) {
            madvise(UnsafeMutableRawPointer(bitPattern: mapping.start), mapping.count, MADV_DONTNEED)
        }
    }

    struct Mapping: Equatable {
        var start: UInt
        var count: Int
    }

    /// Private mappings of files that nobody may write and nobody has written: not the read-only data that the loader relocated.
    static func clean(_ smaps: String) -> [Mapping] {
        var found: [Mapping] = []
        var current: Mapping? = nil
        for line in smaps.split(separator: "\n") {
            let words = line.split(separator: " ", omittingEmptySubsequences: true)
            guard let first = words.first else { continue }
            if !first.hasSuffix(":") {
                current = nil
                guard words.count >= 6, words[5].hasPrefix("/"), words[1] == "r-xp" || words[1] == "r--p" else {
                    continue
                }
                let ends = first.split(separator: "-").compactMap { UInt($0, radix: 16) }
                if ends.count == 2, ends[1] > ends[0] {
                    current = Mapping(start: ends[0], count: Int(ends[1] - ends[0]))
                }
            } else if first == "Anonymous:", let mapping = current {
                if words.count > 1, words[1] == "0" { found.append(mapping) }
                current = nil
            }
        }
        return found
    }
}
