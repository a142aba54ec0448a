/// Headers of a tar archive that is the same for the same input: times are 0, owners are root.
enum TarWriter {
    /// The header blocks of an entry; its data, filled with zeros to 512 bytes, follows.
    static func header(_ entry: TarEntry) -> [UInt8] {
        var blocks: [UInt8] = []
        if entry.path.utf8.count > 100 { blocks += long("L", entry.path) }
        if entry.link.utf8.count > 100 { blocks += long("K", entry.link) }
        return blocks + block(entry, kind: kind(entry.kind))
    }

    static let end = [UInt8](repeating: 0, count: 1024)

    static func padding(_ size: Int) -> [UInt8] { [UInt8](repeating: 0, count: (512 - size % 512) % 512) }

    private static func kind(_ kind: TarEntry.Kind) -> Character {
        switch kind {
        case .file: "0"
        case .hardLink: "1"
        case .symbolicLink: "2"
        case .device: "3"
        case .directory: "5"
        case .fifo: "6"
        }
    }

    private static func long(_ kind: Character, _ text: String) -> [UInt8] {
        var entry = TarEntry(kind: .file, path: "././@LongLink")
        entry.size = text.utf8.count + 1
        return block(entry, kind: kind) + text.utf8 + [0] + padding(entry.size)
    }

    private static func block(_ entry: TarEntry, kind: Character) -> [UInt8] {
        var block = [UInt8](repeating: 0, count: 512)
        func put(_ bytes: some Collection<UInt8>, at start: Int) {
            for (offset, byte) in bytes.enumerated() { block[start + offset] = byte }
        }
        func octal(_ number: Int, _ start: Int, _ width: Int) {
            let digits = String(number, radix: 8)
            put(String(repeating: "0", count: max(0, width - 1 - digits.count)).utf8, at: start)
            put(digits.utf8, at: start + max(0, width - 1 - digits.count))
        }
        put(entry.path.utf8.prefix(100), at: 0)
        octal(Int(entry.mode), 100, 8)
        octal(entry.user, 108, 8)
        octal(entry.group, 116, 8)
        octal(entry.size, 124, 12)
        octal(Int(entry.modified), 136, 12)
        put(String(kind).utf8, at: 156)
        put(entry.link.utf8.prefix(100), at: 157)
        // GNU's magic, since the long names are GNU's.
        put("ustar  ".utf8, at: 257)
        put([UInt8](repeating: 0x20, count: 8), at: 148)
        let sum = block.reduce(0) { $0 + Int($1) }
        octal(sum, 148, 7)
        block[154] = 0
        block[155] = 0x20
        return block
    }
}
