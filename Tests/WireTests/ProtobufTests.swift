import Testing
import Wire

@Suite("Protobuf wire format")
struct ProtobufTests {
    @Test("what is written is read back")
    func roundTrip() throws {
        var writer = ProtobufWriter()
        writer.varint(1, 300)
        writer.string(2, "grün")
        writer.int64(3, -1)
        writer.double(4, 1.5)
        writer.fixed32(5, 0xDEAD_BEEF)
        writer.message(6) { inner in inner.bool(1, true) }
        writer.stringEntry(7, key: "a", value: "b")
        var reader = ProtobufReader(writer.bytes)
        var seen: [Int] = []
        while let tag = try reader.nextTag() {
            seen.append(tag.field)
            switch tag.field {
            case 1: #expect(try reader.varint(tag) == 300)
            case 2: #expect(try reader.string(tag) == "grün")
            case 3: #expect(try reader.int64(tag) == -1)
            case 4: #expect(try reader.double(tag) == 1.5)
            case 6:
                var inner = try reader.message(tag)
                let innerTag = try #require(try inner.nextTag())
                #expect(try inner.bool(innerTag))
                #expect(inner.isAtEnd)
            case 7:
                let entry = try reader.stringEntry(tag)
                #expect(entry.key == "a" && entry.value == "b")
            default: try reader.skip(tag)
            }
        }
        #expect(seen == [1, 2, 3, 4, 5, 6, 7])
    }

    @Test("the encoding guide's examples have these bytes")
    func knownBytes() {
        var writer = ProtobufWriter()
        writer.varint(1, 150)
        writer.string(2, "testing")
        #expect(writer.bytes == [0x08, 0x96, 0x01, 0x12, 0x07] + Array("testing".utf8))
    }

    @Test(
        "bytes that lie about their length are refused",
        arguments: [
            [0x0A, 0x05, 0x61], [0x08], [0x08, 0xFF], [0x0D, 1, 2, 3], [0x09, 1], [0x00], [0x0F],
            [0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
            [0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F], [0x0B, 0x08, 0x01], [0x0C],
        ] as [[UInt8]])
    func lies(bytes: [UInt8]) {
        #expect(throws: ProtobufFault.self) {
            var reader = ProtobufReader(bytes)
            while let tag = try reader.nextTag() { try reader.skip(tag) }
        }
    }

    @Test("no random bytes make the reader trap")
    func fuzz() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<20_000 {
            let count = Int(random.next() % 40)
            let bytes = (0..<count).map { _ in
                UInt8(truncatingIfNeeded: random.next() % 3 == 0 ? random.next() : random.next() % 16)
            }
            var reader = ProtobufReader(bytes)
            while let tag = try? reader.nextTag() {
                guard (try? reader.skip(tag)) != nil else { break }
            }
        }
    }

    @Test("messages nested beyond the limit are refused, not overflowing the stack")
    func deep() {
        var bytes: [UInt8] = []
        for _ in 0..<400 {
            var writer = ProtobufWriter()
            writer.bytes(1, bytes)
            bytes = writer.bytes
        }
        #expect(throws: ProtobufFault.self) {
            var reader = ProtobufReader(bytes)
            while let tag = try reader.nextTag() { reader = try reader.message(tag) }
        }
        let groups = [UInt8](repeating: 0x0B, count: 100_000)
        #expect(throws: ProtobufFault.self) {
            var reader = ProtobufReader(groups)
            while let tag = try reader.nextTag() { try reader.skip(tag) }
        }
    }
}
