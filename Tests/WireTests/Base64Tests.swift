import Testing
import Wire

@Suite struct Base64Tests {
    @Test(
        "the vectors of RFC 4648 §10, both ways",
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ])
    func vectors(plain: String, encoded: String) {
        #expect(Base64.encode(Array(plain.utf8)) == encoded)
        #expect(Base64.decode(encoded) == Array(plain.utf8))
    }

    @Test("line breaks inside are passed over")
    func lineBreaks() { #expect(Base64.decode("Zm9v\r\nYmFy\n") == Array("foobar".utf8)) }

    @Test(
        "what is not base64 is refused",
        arguments: ["a", "YQ", "a=bc", "Y===", "ab!?", "Zm9v!", "\u{0}\u{0}\u{0}\u{0}"])
    func refused(text: String) { #expect(Base64.decode(text) == nil) }

    @Test("the alphabet of URLs has no sign a URL gives a meaning to", arguments: 0..<20)
    func urls(count: Int) {
        let bytes = (0..<count).map { UInt8(truncatingIfNeeded: 250 &+ $0 &* 7) }
        let text = Base64.encodeForURL(bytes)
        #expect(Base64.decodeFromURL(text) == bytes)
        #expect(!text.contains { "+/=".contains($0) })
    }
}
