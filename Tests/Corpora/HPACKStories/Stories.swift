import Wire

/// Reads lines from standard input (`story`, `limit N`, `block HEX`) and says of each block, as a line of JSON, what it decodes to,
/// and what our encoder makes of that. For `make corpora`.
@main enum Stories {
    static func main() {
        let room = 1 << 20
        let text = Bytes.allocate(capacity: room)
        let wire = Bytes.allocate(capacity: room)
        let again = Bytes.allocate(capacity: room)
        var decoder = HeaderBlockDecoder(longestList: room, mostFields: 1024)
        var encoder = HeaderBlockEncoder()
        var second = HeaderBlockDecoder(longestList: room, mostFields: 1024)
        while let line = readLine() {
            let words = line.split(separator: " ")
            switch words.first {
            case "story":
                decoder = HeaderBlockDecoder(longestList: room, mostFields: 1024)
                encoder = HeaderBlockEncoder()
                second = HeaderBlockDecoder(longestList: room, mostFields: 1024)
            case "limit": decoder.setLimit(words.count > 1 ? Int(words[1]) ?? 4096 : 4096)
            case "block":
                let block = bytes(words.count > 1 ? words[1] : "")
                do throws(HPACKFault) {
                    let outcome = try decoder.decode(block, block.count, into: text, room)
                    if outcome == .tooLarge {
                        print("{\"fault\": \"too large\"}")
                        continue
                    }
                    var count = 0
                    encoder.begin(wire, &count)
                    var fields: [String] = []
                    for place in 0..<decoder.fieldCount {
                        let field = decoder.fields[place]
                        let name = text + Int(field.nameOffset)
                        let value = text + Int(field.valueOffset)
                        encoder.append(
                            name, Int(field.nameLength), value, Int(field.valueLength), isSecret: field.neverIndexed,
                            wire, &count)
                        let name16 = hex(name, Int(field.nameLength))
                        let value16 = hex(value, Int(field.valueLength))
                        fields.append("[\"\(name16)\", \"\(value16)\"]")
                    }
                    let isSame =
                        try second.decode(wire, count, into: again, room) == .complete
                        && second.byteCount == decoder.byteCount
                        && hex(again, second.byteCount) == hex(text, decoder.byteCount)
                    let list = fields.joined(separator: ", ")
                    print("{\"fields\": [\(list)], \"again\": \(isSame), \"wire\": \"\(hex(wire, count))\"}")
                } catch {
                    print("{\"fault\": \"\(error)\"}")
                }
            default: print("{\"fault\": \"a line this program does not know\"}")
            }
        }
    }

    private static func bytes(_ hex: Substring) -> [UInt8] {
        let digits = hex.utf8.map { $0 < 58 ? $0 - 48 : ($0 | 32) - 87 }
        return stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }

    private static let digits = Array("0123456789abcdef".utf8)

    private static func hex(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> String {
        var out: [UInt8] = []
        out.reserveCapacity(2 * count)
        for place in 0..<count {
            out.append(digits[Int(bytes[place] >> 4)])
            out.append(digits[Int(bytes[place] & 15)])
        }
        return String(decoding: out, as: UTF8.self)
    }
}
