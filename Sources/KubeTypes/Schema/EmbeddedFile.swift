import CSchemas
import Glibc
import Wire

/// One of the data files linked into the program. Each has one JSON entry a line, so entries are found without parsing all.
struct EmbeddedFile: Sendable {
    let name: String
    let bytes: [UInt8]

    init(_ name: String) {
        self.name = name
        guard let file = weft_schema_file(name)?.pointee else {
            preconditionFailure("no embedded file is called \(name)")
        }
        bytes = Array(UnsafeBufferPointer(start: file.bytes, count: file.count))
    }

    /// The lines that hold something, without a trailing comma.
    func lines() -> [Range<Int>] {
        var lines: [Range<Int>] = []
        bytes.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            var start = 0
            while start < buffer.count {
                let found = memchr(base + start, 0x0A, buffer.count - start)
                let end = found.map { UnsafeRawPointer($0) - UnsafeRawPointer(base) } ?? buffer.count
                var stop = end
                if stop > start, buffer[stop - 1] == UInt8(ascii: ",") { stop -= 1 }
                if stop > start { lines.append(start..<stop) }
                start = end + 1
            }
        }
        return lines
    }

    /// The file as lines `"key":value`, by key.
    func entries() -> [(key: String, value: Range<Int>)] {
        var entries: [(key: String, value: Range<Int>)] = []
        for line in lines() where bytes[line.lowerBound] == UInt8(ascii: "\"") {
            guard let quote = bytes[(line.lowerBound + 1)..<line.upperBound].firstIndex(of: UInt8(ascii: "\"")) else {
                continue
            }
            let key = String(decoding: bytes[(line.lowerBound + 1)..<quote], as: UTF8.self)
            entries.append((key, quote + 2..<line.upperBound))
        }
        return entries
    }

    func parse(_ range: Range<Int>) -> JSON { parse(Array(bytes[range])) }

    /// The data is part of the program: if it does not parse, the program is wrong.
    func parse(_ text: [UInt8]) -> JSON {
        do throws(JSONFault) {
            return try JSON(parsing: text)
        } catch {
            preconditionFailure("embedded file \(name): \(error)")
        }
    }
}
