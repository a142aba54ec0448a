import Testing
import Wire

@Suite struct HTTP2Tests {
    private func bytes(_ hex: String) -> [UInt8] {
        let digits = hex.filter { $0 != " " }
        return stride(from: 0, to: digits.count, by: 2).map { place in
            let start = digits.index(digits.startIndex, offsetBy: place)
            return UInt8(digits[start..<digits.index(start, offsetBy: 2)], radix: 16) ?? 0
        }
    }

    private static let requests: [[(String, String)]] = [
        [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com")],
        [
            (":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "www.example.com"),
            ("cache-control", "no-cache"),
        ],
        [
            (":method", "GET"), (":scheme", "https"), (":path", "/index.html"), (":authority", "www.example.com"),
            ("custom-key", "custom-value"),
        ],
    ]

    @Test("RFC 7541 C.3: three requests without Huffman coding")
    func plainRequests() throws {
        let decoder = HPACKReader()
        let blocks = [
            "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d", "8286 84be 5808 6e6f 2d63 6163 6865",
            "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
        ]
        for (block, expected) in zip(blocks, Self.requests) {
            #expect(try decoder.decode(bytes(block)) == expected.map { Field($0.0, $0.1) })
        }
    }

    @Test("RFC 7541 C.4: the same with Huffman coding")
    func huffmanRequests() throws {
        let decoder = HPACKReader()
        let blocks = [
            "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff", "8286 84be 5886 a8eb 1064 9cbf",
            "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
        ]
        for (block, expected) in zip(blocks, Self.requests) {
            #expect(try decoder.decode(bytes(block)) == expected.map { Field($0.0, $0.1) })
        }
    }

    @Test("RFC 7541 C.6: three responses in a table of 256 bytes, with eviction")
    func evictingResponses() throws {
        let decoder = HPACKReader(tableSize: 256)
        let first = try decoder.decode(
            bytes(
                "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3"
            ))
        #expect(first.map(\.text) == ["302", "private", "Mon, 21 Oct 2013 20:13:21 GMT", "https://www.example.com"])
        let second = try decoder.decode(bytes("4883 640e ffc1 c0bf"))
        #expect(second.map(\.text) == ["307", "private", "Mon, 21 Oct 2013 20:13:21 GMT", "https://www.example.com"])
        let third = try decoder.decode(
            bytes(
                "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07"
            ))
        #expect(
            third.map(\.text) == [
                "200", "private", "Mon, 21 Oct 2013 20:13:22 GMT", "https://www.example.com", "gzip",
                "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
            ])
    }

    @Test(
        "blocks that cannot be are refused",
        arguments: [
            ("80", HPACKFault.badIndex), ("be", .badIndex), ("40", .truncated), ("4005 61", .truncated),
            ("ff80 8080 8080 80", .badInteger),
            ("4081 00 00", .badHuffman), ("3fe2 1f", .badTableSize), ("8220", .badTableSize),
            ("4083 ffff ff00", .badHuffman),
        ])
    func refused(block: String, fault: HPACKFault) {
        let decoder = HPACKReader()
        #expect(throws: fault) { try decoder.decode(bytes(block)) }
    }

    @Test("a frame's header is written as it is read, and not read before its ninth byte")
    func frameHeader() {
        let header = FrameHeader(length: 0x012345, kind: .headers, flags: 5, stream: 0x7FFF_FFFE)
        var out: [UInt8] = []
        header.write(to: &out)
        #expect(out == [1, 0x23, 0x45, 1, 5, 0x7F, 0xFF, 0xFF, 0xFE])
        #expect(FrameHeader(out) == header)
        for count in 0..<9 { #expect(FrameHeader(Array(out.prefix(count))) == nil) }
    }
}
