import Testing
import Wire

@Suite struct HPACKTests {
    private struct Chance: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ state >> 29
        }
    }

    private static let names = [
        ":method", ":path", ":status", ":authority", "cookie", "authorization", "content-length", "x-request-id",
        "x-a", "x-b", "accept", "user-agent", "x-\(String(repeating: "long", count: 40))",
    ]

    private static func field(_ chance: inout Chance) -> Field {
        let name = chance.next() % 8 == 0 ? "n\(chance.next() % 1000)" : names[Int(chance.next() % UInt64(names.count))]
        let length = chance.next() % 16 == 0 ? Int(chance.next() % 3000) : Int(chance.next() % 24)
        let kinds = chance.next() % 4
        let value = (0..<length).map { place -> UInt8 in
            kinds == 0 ? UInt8(truncatingIfNeeded: chance.next()) : UInt8(97 + (place + Int(kinds)) % 3)
        }
        return Field(name: Array(name.utf8), value: value, isSecret: chance.next() % 32 == 0)
    }

    @Test("what the encoder writes, the decoder reads, through changing table sizes", arguments: [0, 64, 256, 4096])
    func roundTrip(tableSize: Int) throws {
        for usesHuffman in [true, false] {
            var chance = Chance(state: UInt64(tableSize) + 7)
            let writer = HPACKWriter(tableSize: tableSize, usesHuffman: usesHuffman)
            let reader = HPACKReader(longestList: 1 << 20, room: 1 << 18)
            for round in 0..<500 {
                if round % 40 == 39 {
                    let first = Int(chance.next() % 5000)
                    let second = Int(chance.next() % 5000)
                    writer.encoder.setPeerLimit(first)
                    writer.encoder.setPeerLimit(second)
                    // Both sides know the limits: it is the decoder's word.
                    reader.decoder.setLimit(max(first, second, tableSize))
                }
                let fields = (0..<Int(chance.next() % 20)).map { _ in Self.field(&chance) }
                #expect(try reader.decode(writer.encode(fields)) == fields)
            }
        }
    }

    @Test("a head sent again takes one byte a field, but for what changes with each message")
    func repeats() throws {
        let writer = HPACKWriter()
        let fields = [
            Field(":method", "GET"), Field(":path", "/orders/17"), Field(":authority", "shop"), Field("x-team", "red"),
            Field("accept", "*/*"), Field("x-request-id", "3f1c"),
        ]
        _ = writer.encode(fields)
        _ = writer.encode(fields)
        let third = writer.encode(fields)
        let path = 2 + 8
        let requestID = 1 + 1 + 9 + 1 + 3
        #expect(third.count <= 4 + path + requestID)
    }

    @Test(
        "secrets are never put into a table, and say so",
        arguments: ["authorization", "proxy-authorization", "cookie"])
    func secrets(name: String) throws {
        let writer = HPACKWriter()
        let reader = HPACKReader()
        let fields = [Field(name, "token=1")]
        let first = writer.encode(fields)
        #expect(first[0] & 0xF0 == 0x10)
        #expect(writer.encode(fields) == first)
        #expect(try reader.decode(first).map(\.isSecret) == [true])
    }

    @Test("a block beyond the limits is refused, and the next one is still read as the peer means it")
    func tooLarge() throws {
        let writer = HPACKWriter()
        let reader = HPACKReader(longestList: 400, mostFields: 5, room: 4096)
        let long = Field("x-long", String(repeating: "a", count: 500))
        let kept = Field("accept", "text/x-kept")
        #expect(throws: HPACKReader.TooLarge.self) { try reader.decode(writer.encode([long, kept])) }
        #expect(throws: HPACKReader.TooLarge.self) {
            try reader.decode(writer.encode((0..<6).map { Field("x-\($0)", "v") }))
        }
        let block = writer.encode([kept])
        #expect(block.count == 1)
        #expect(try reader.decode(block) == [kept])
    }

    @Test("a field longer than the output empties the table, as the peer's does")
    func longerThanOutput() throws {
        let reader = HPACKReader(tableSize: 256, longestList: 1 << 20, room: 256)
        #expect(try reader.decode([0x40, 1, 0x61, 1, 0x62]) == [Field("a", "b")])
        #expect(try reader.decode([0xBE]) == [Field("a", "b")])
        let long: [UInt8] = [0x40, 1, 0x61, 0x7F, 0xE9, 0x03] + [UInt8](repeating: 0x78, count: 616)
        #expect(throws: HPACKReader.TooLarge.self) { try reader.decode(long) }
        #expect(throws: HPACKFault.badIndex) { try reader.decode([0xBE]) }
    }

    @Test("a limit lowered by us must be answered at the start of the next block")
    func loweredLimit() throws {
        let reader = HPACKReader()
        reader.decoder.setLimit(100)
        #expect(throws: HPACKFault.badTableSize) { try reader.decode([0x82]) }
        let other = HPACKReader()
        other.decoder.setLimit(100)
        #expect(try other.decode([0x3F, 0x45, 0x82]) == [Field(":method", "GET")])
    }

    @Test("an update beyond the limit, between fields, or a third one is refused")
    func badUpdates() {
        for block: [UInt8] in [[0x3F, 0xE2, 0x1F], [0x82, 0x20], [0x20, 0x20, 0x20, 0x82]] {
            let reader = HPACKReader()
            #expect(throws: HPACKFault.badTableSize) { try reader.decode(block) }
        }
    }

    @Test("Fuzz: random blocks are read or refused, and never beyond their bytes")
    func lyingBytes() throws {
        var chance = Chance(state: 99)
        for _ in 0..<3_000 {
            let reader = HPACKReader(tableSize: 256, longestList: 2000, mostFields: 20, room: 512)
            for _ in 0..<4 {
                var block = (0..<Int(chance.next() % 40)).map { _ in UInt8(truncatingIfNeeded: chance.next() >> 17) }
                if chance.next() % 2 == 0, !block.isEmpty { block[0] = 0x40 }
                do { _ = try reader.decode(block) } catch is HPACKReader.TooLarge {} catch { break }
            }
        }
    }

    @Test("every byte survives Huffman coding")
    func allBytes() throws {
        let writer = HPACKWriter()
        let reader = HPACKReader()
        for byte in UInt8.min...UInt8.max {
            // Letters of 5 bits make the coded form the shorter one.
            let value = [UInt8](repeating: 0x61, count: 40) + [byte] + [UInt8](repeating: 0x65, count: 40)
            let fields = [Field(name: Array(":path".utf8), value: value)]
            let block = writer.encode(fields)
            #expect(block.count < value.count)
            #expect(try reader.decode(block) == fields)
        }
    }
}
