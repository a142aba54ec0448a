import Glibc
import Kernel

/// The files of one run's log, oldest first: what was rotated away, then the one being written.
struct LogFiles {
    let path: String

    /// Rotated files lie beside the log, with a suffix: a small number (greater is older) or a time (greater is newer).
    var all: [String] {
        guard let slash = path.lastIndex(of: "/") else { return [path] }
        let directory = String(path[..<slash])
        let name = String(path[path.index(after: slash)...])
        let suffixes = FileTree.names(in: directory).filter { $0.hasPrefix(name + ".") && !$0.hasSuffix(".gz") }.map {
            $0.dropFirst(name.count + 1)
        }
        let numbered = suffixes.filter { $0.count <= 3 && Int($0) != nil }.sorted { (Int($0) ?? 0) > (Int($1) ?? 0) }
        let dated = suffixes.filter { $0.count > 3 || Int($0) == nil }.sorted()
        return (numbered + dated).map { "\(path).\($0)" } + [path]
    }

    /// Where the last `lines` lines begin: the files from there on, and the place in the first of them.
    func tail(_ lines: Int) -> (files: [String], offset: Int) {
        let files = all
        guard lines > 0 else {
            let size = (try? LogFile(path))?.size ?? 0
            return ([path], size)
        }
        var missing = lines
        for (place, file) in files.enumerated().reversed() {
            guard let opened = try? LogFile(file) else { continue }
            if let offset = opened.startOfLast(&missing) { return (Array(files[place...]), offset) }
        }
        return (files, 0)
    }
}

/// An open log file.
struct LogFile: ~Copyable, Sendable {
    private let file: OwnedDescriptor
    let identity: UInt

    init(_ path: String) throws(SystemCallFailed) {
        file = try OwnedDescriptor.open(path, flags: O_RDONLY)
        var status = stat()
        fstat(file.number, &status)
        identity = UInt(status.st_ino)
    }

    var size: Int {
        var status = stat()
        return fstat(file.number, &status) == 0 ? Int(status.st_size) : 0
    }

    func read(at offset: Int, _ count: Int) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        let got = bytes.withUnsafeMutableBytes { space in
            space.baseAddress.map { pread(file.number, $0, space.count, off_t(offset)) } ?? 0
        }
        return got > 0 ? Array(bytes[..<got]) : []
    }

    /// Counts whole lines backwards.
    /// - Parameter missing: how many lines are wanted; less by those this file has when it has too few.
    /// - Returns: where the first wanted line begins.
    func startOfLast(_ missing: inout Int) -> Int? {
        var end = size
        var isFirst = true
        while end > 0 {
            let start = max(0, end - 65536)
            let bytes = read(at: start, end - start)
            guard bytes.count == end - start else { return 0 }
            for place in bytes.indices.reversed() where bytes[place] == 10 {
                // The last line feed ends the last line; every other one is the end of the line before.
                if isFirst, start + place == size - 1 {
                    isFirst = false
                    continue
                }
                missing -= 1
                if missing == 0 { return start + place + 1 }
            }
            isFirst = false
            end = start
        }
        if size > 0 { missing -= 1 }
        return missing == 0 ? 0 : nil
    }
}

enum LogTail {
    /// The text of the last lines of a log.
    static func text(of path: String, lines: Int, bytes: Int) -> String {
        let (files, offset) = LogFiles(path: path).tail(lines)
        var filter = LogFilter(since: nil, hasTimestamps: false, limit: nil)
        var text: [UInt8] = []
        for (place, name) in files.enumerated() {
            guard let file = try? LogFile(name) else { continue }
            var position = place == 0 ? offset : 0
            while true {
                let chunk = file.read(at: position, 65536)
                if chunk.isEmpty { break }
                position += chunk.count
                text += filter.take(chunk[...])
            }
        }
        return String(decoding: text.suffix(bytes), as: UTF8.self)
    }
}
