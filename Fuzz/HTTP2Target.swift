import Wire

/// Frames and header blocks of one connection: what decodes must survive being encoded and decoded again.
enum HTTP2Target {
    private static let room = 1 << 14

    static func run(_ input: Input) {
        let bytes = Array(input)
        let out = Bytes.allocate(capacity: room)
        let wire = Bytes.allocate(capacity: 4 * room)
        let again = Bytes.allocate(capacity: room)
        defer {
            out.deallocate()
            wire.deallocate()
            again.deallocate()
        }
        var decoder = HeaderBlockDecoder(tableSize: 512, longestList: room, mostFields: 64)
        var encoder = HeaderBlockEncoder(tableSize: 256)
        var second = HeaderBlockDecoder(tableSize: 4096, longestList: 4 * room, mostFields: 64)
        var place = 0
        while let header = FrameHeader(bytes, at: place) {
            place += FrameHeader.size
            let length = min(header.length, bytes.count - place)
            defer { place += length }
            if header.kind == FrameKind.settings.rawValue {
                for (key, value) in Setting.read(bytes[place..<place + length]) where key == Setting.headerTableSize {
                    encoder.setPeerLimit(Int(value))
                    second.setLimit(max(4096, min(Int(value), room)))
                }
                continue
            }
            // Exactly the block, so that a read beyond it is seen.
            let block = UnsafeMutablePointer<UInt8>.allocate(capacity: max(1, length))
            defer { block.deallocate() }
            for offset in 0..<length { block[offset] = bytes[place + offset] }
            guard let outcome = try? decoder.decode(block, length, into: out, room) else { return }
            if outcome == .tooLarge { continue }
            precondition(decoder.byteCount <= room)
            var count = 0
            encoder.begin(wire, &count)
            precondition(count <= HeaderBlockEncoder.mostBytesOfBegin)
            for index in 0..<decoder.fieldCount {
                let field = decoder.fields[index]
                let before = count
                let nameLength = Int(field.nameLength)
                let valueLength = Int(field.valueLength)
                encoder.append(
                    out + Int(field.nameOffset), nameLength, out + Int(field.valueOffset), valueLength,
                    isSecret: field.neverIndexed, wire, &count)
                precondition(count - before <= HeaderBlockEncoder.mostBytes(nameLength, valueLength))
            }
            guard (try? second.decode(wire, count, into: again, room)) == .complete else {
                preconditionFailure("our own block is refused")
            }
            precondition(second.byteCount == decoder.byteCount && second.fieldCount == decoder.fieldCount)
            for offset in 0..<second.byteCount { precondition(again[offset] == out[offset], "a field has changed") }
        }
    }
}
