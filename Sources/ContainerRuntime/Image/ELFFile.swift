import Glibc
import Kernel

/// What a program needs to be loaded: its interpreter and shared libraries.
///
/// Source: System V ABI, chapters 4 and 5; ld.so(8) for where libraries are sought.
struct ELFFile: Sendable, Hashable {
    var interpreter: String?
    var needed: [String] = []
    var searched: [String] = []  // DT_RUNPATH, or DT_RPATH

    /// `nil` when the file is no ELF file of 64 bits, little-endian: a script, data.
    init?(path: String) throws(RuntimeFailure) {
        let file = try attempting("read \(path)") { () throws(SystemCallFailed) in
            try OwnedDescriptor.open(path, flags: O_RDONLY)
        }
        func bytes(_ offset: UInt64, _ count: UInt64) -> [UInt8]? {
            guard count <= 16 << 20, offset <= UInt64(Int64.max) else { return nil }
            var space = [UInt8](repeating: 0, count: Int(count))
            return pread(file.number, &space, space.count, off_t(offset)) == space.count ? space : nil
        }
        guard let header = bytes(0, 64), header[0..<4].elementsEqual([0x7F, 0x45, 0x4C, 0x46]), header[4] == 2,
            header[5] == 1
        else { return nil }
        let tableOffset = Self.number(header, 32, 8)
        let entrySize = Self.number(header, 54, 2)
        let entryCount = Self.number(header, 56, 2)
        guard entrySize >= 56, let table = bytes(tableOffset, entrySize * entryCount) else { throw Self.broken(path) }

        var segments: [(address: UInt64, offset: UInt64, size: UInt64)] = []
        var dynamic: (offset: UInt64, size: UInt64)?
        for place in 0..<Int(entryCount) {
            let start = place * Int(entrySize)
            let offset = Self.number(table, start + 8, 8)
            let size = Self.number(table, start + 32, 8)
            switch Self.number(table, start, 4) {
            case 1: segments.append((Self.number(table, start + 16, 8), offset, size))
            case 2: dynamic = (offset, size)
            case 3:
                guard let text = bytes(offset, min(size, 4096)) else { throw Self.broken(path) }
                interpreter = String(decoding: text.prefix { $0 != 0 }, as: UTF8.self)
            default: break
            }
        }
        guard let dynamic else { return }
        guard let entries = bytes(dynamic.offset, dynamic.size) else { throw Self.broken(path) }
        var tags: [(tag: UInt64, value: UInt64)] = []
        for start in stride(from: 0, to: entries.count - 15, by: 16) {
            tags.append((Self.number(entries, start, 8), Self.number(entries, start + 8, 8)))
        }
        guard let tableAddress = tags.first(where: { $0.tag == 5 })?.value,
            let tableSize = tags.first(where: { $0.tag == 10 })?.value,
            let segment = segments.first(where: { $0.address <= tableAddress && tableAddress < $0.address + $0.size }),
            let strings = bytes(tableAddress - segment.address + segment.offset, tableSize)
        else { return }
        func text(_ place: UInt64) -> String {
            guard place < UInt64(strings.count) else { return "" }
            return String(decoding: strings[Int(place)...].prefix { $0 != 0 }, as: UTF8.self)
        }
        needed = tags.filter { $0.tag == 1 }.map { text($0.value) }
        let runPath = tags.first { $0.tag == 29 } ?? tags.first { $0.tag == 15 }
        if let runPath {
            let origin = path.split(separator: "/").dropLast().reduce("") { $0 + "/" + $1 }
            searched = text(runPath.value).split(separator: ":").map {
                Self.replacing(["$ORIGIN", "${ORIGIN}"], in: String($0), with: origin)
            }
        }
    }

    private static func replacing(_ words: [String], in text: String, with value: String) -> String {
        for word in words where text.hasPrefix(word) { return value + text.dropFirst(word.count) }
        return text
    }

    private static func broken(_ path: String) -> RuntimeFailure {
        RuntimeFailure(.badImage, "\(path) is a damaged ELF file")
    }

    private static func number(_ bytes: [UInt8], _ start: Int, _ count: Int) -> UInt64 {
        guard start >= 0, start + count <= bytes.count else { return 0 }
        return (0..<count).reduce(0) { $0 | UInt64(bytes[start + $1]) << UInt64(8 * $1) }
    }
}

/// All a set of programs loads at their start.
struct LibraryClosure {
    /// Where each file goes in the image, and where it is on this machine.
    private(set) var files: [String: String] = [:]
    private var seen: Set<String> = []

    #if arch(arm64)
        static let standard = "/lib/aarch64-linux-gnu"
    #else
        static let standard = "/lib/x86_64-linux-gnu"
    #endif
    private static let folders = [
        standard, "/usr" + standard, "/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib",
    ]

    /// Adds what `program` needs. Libraries go to the loader's standard folder, wherever they were found.
    mutating func add(program: String) throws(RuntimeFailure) {
        guard seen.insert(program).inserted, let elf = try ELFFile(path: program) else { return }
        if let interpreter = elf.interpreter { files[interpreter] = interpreter }
        for name in elf.needed { try add(library: name, for: program, searched: elf.searched) }
    }

    private mutating func add(library name: String, for user: String, searched: [String]) throws(RuntimeFailure) {
        if name.hasPrefix("/") {
            files[name] = name
            return try add(program: name)
        }
        // The interpreter is a library of its own libraries too.
        if files.keys.contains(where: { $0.hasSuffix("/" + name) }) { return }
        let machine = searched + Self.folders
        guard let folder = machine.first(where: { FileTree.exists($0 + "/" + name) }) else {
            throw RuntimeFailure(
                .badImage, "\(user) needs the library \(name), which is in none of \(machine.joined(separator: ", "))")
        }
        files[Self.standard + "/" + name] = folder + "/" + name
        try add(program: folder + "/" + name)
    }
}
