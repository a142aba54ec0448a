/// One member of a tar archive.
struct TarEntry: Sendable, Hashable {
    enum Kind: Sendable, Hashable { case file, hardLink, symbolicLink, directory, fifo, device }
    var kind: Kind
    var path: String
    var link = ""
    var mode: UInt32 = 0o644
    var user = 0
    var group = 0
    var modified: Int64 = 0
    var size = 0
    var attributes: [String: [UInt8]] = [:]
}

/// Reads ustar, pax and GNU long names from a blob. After each entry its `size` bytes must be taken with `skipData` or from
/// the blob itself.
struct TarReader {
    private let blob: BlobStream
    private let name: String
    private var padding = 0
    private static let longestHeader = 1 << 20

    init(_ blob: BlobStream, name: String) {
        self.blob = blob
        self.name = name
    }

    private func fault(_ what: String) -> RuntimeFailure {
        RuntimeFailure(.badImage, "\(name) is no valid tar archive: \(what)")
    }

    /// The next entry, or `nil` at the end of the archive.
    mutating func next() throws(RuntimeFailure) -> TarEntry? {
        var pax: [String: [UInt8]] = [:]
        var longPath: String?
        var longLink: String?
        while true {
            try blob.skip(padding)
            padding = 0
            // An archive should end with two blocks of zeros; many end without.
            guard try blob.hasMore() else { return nil }
            let block = try blob.bytes(512)
            if block.allSatisfy({ $0 == 0 }) { return nil }
            try check(block)
            let size = try number(block, 124, 12)
            padding = (512 - size % 512) % 512
            switch block[156] {
            case UInt8(ascii: "x"):
                pax = try records(try extra(size))
            case UInt8(ascii: "g"):
                _ = try extra(size)
            case UInt8(ascii: "L"):
                longPath = Self.text(try extra(size)[...])
            case UInt8(ascii: "K"):
                longLink = Self.text(try extra(size)[...])
            default:
                return try entry(block, size: size, pax: pax, longPath: longPath, longLink: longLink)
            }
        }
    }

    private func extra(_ size: Int) throws(RuntimeFailure) -> [UInt8] {
        guard size <= Self.longestHeader else { throw fault("a header of \(size) bytes") }
        return try blob.bytes(size)
    }

    private mutating func entry(
        _ block: [UInt8], size: Int, pax: [String: [UInt8]], longPath: String?, longLink: String?
    ) throws(RuntimeFailure) -> TarEntry {
        var path = Self.text(block[0..<100])
        let isUstar = block[257..<262].elementsEqual("ustar".utf8)
        if isUstar, block[263] != 0x20 {
            let prefix = Self.text(block[345..<500])
            if !prefix.isEmpty { path = prefix + "/" + path }
        }
        var entry = TarEntry(
            kind: .file, path: longPath ?? path, link: longLink ?? Self.text(block[157..<257]), size: size)
        switch block[156] {
        case 0, UInt8(ascii: "0"), UInt8(ascii: "7"): entry.kind = entry.path.hasSuffix("/") ? .directory : .file
        case UInt8(ascii: "1"): entry.kind = .hardLink
        case UInt8(ascii: "2"): entry.kind = .symbolicLink
        case UInt8(ascii: "3"), UInt8(ascii: "4"): entry.kind = .device
        case UInt8(ascii: "5"): entry.kind = .directory
        case UInt8(ascii: "6"): entry.kind = .fifo
        case let other: throw fault("\(entry.path) has the unknown type \(other)")
        }
        entry.mode = UInt32(truncatingIfNeeded: try number(block, 100, 8)) & 0o7777
        entry.user = try number(block, 108, 8)
        entry.group = try number(block, 116, 8)
        entry.modified = Int64(try number(block, 136, 12))
        for (key, value) in pax {
            let text = String(decoding: value, as: UTF8.self)
            switch key {
            case "path": entry.path = text
            case "linkpath": entry.link = text
            case "uid": entry.user = Int(text) ?? entry.user
            case "gid": entry.group = Int(text) ?? entry.group
            case "mtime": entry.modified = Int64(text.prefix { $0 != "." }) ?? entry.modified
            case "size":
                guard let size = Int(text), size >= 0 else { throw fault("\(entry.path) has the size \(text)") }
                entry.size = size
                padding = (512 - size % 512) % 512
            default:
                if key.hasPrefix("SCHILY.xattr.") { entry.attributes[String(key.dropFirst(13))] = value }
            }
        }
        if entry.kind != .file, entry.size > 0 {
            try blob.skip(entry.size)
            entry.size = 0
        }
        return entry
    }

    private func check(_ block: [UInt8]) throws(RuntimeFailure) {
        var sum = 8 * 0x20
        for (place, byte) in block.enumerated() where !(148..<156).contains(place) { sum += Int(byte) }
        guard try number(block, 148, 8) == sum else { throw fault("a header's checksum is wrong") }
    }

    /// Octal digits, or, with the top bit set, a big-endian number (GNU).
    private func number(_ block: [UInt8], _ start: Int, _ count: Int) throws(RuntimeFailure) -> Int {
        let field = block[start..<start + count]
        if block[start] & 0x80 != 0 {
            var value = Int(block[start] & 0x7F)
            for byte in field.dropFirst() {
                guard value < 1 << 54 else { throw fault("a number is too large") }
                value = value << 8 | Int(byte)
            }
            return value
        }
        var value = 0
        for byte in field {
            if byte == 0x20 || byte == 0 {
                if value == 0 { continue }
                break
            }
            guard byte >= 0x30, byte < 0x38 else { throw fault("a number has the byte \(byte)") }
            value = value << 3 | Int(byte - 0x30)
        }
        return value
    }

    private static func text(_ bytes: ArraySlice<UInt8>) -> String {
        String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
    }

    /// pax records: `<length> <key>=<value>\n`, the length counting all of it.
    private func records(_ bytes: [UInt8]) throws(RuntimeFailure) -> [String: [UInt8]] {
        var found: [String: [UInt8]] = [:]
        var rest = bytes[...]
        while !rest.isEmpty {
            guard let space = rest.firstIndex(of: 0x20),
                let length = Int(String(decoding: rest[..<space], as: UTF8.self)),
                length > 0, length <= rest.count, rest.startIndex + length > space + 1
            else { throw fault("a pax record has no length") }
            let record = rest[(space + 1)..<(rest.startIndex + length - 1)]
            guard let equals = record.firstIndex(of: 0x3D) else { throw fault("a pax record has no '='") }
            found[String(decoding: record[..<equals], as: UTF8.self)] = Array(record[(equals + 1)...])
            rest = rest[(rest.startIndex + length)...]
        }
        return found
    }
}
