import Testing

@testable import TLS

@Suite("AES-GCM")
struct AESGCMTests {
    private func bytes(_ hex: String) -> [UInt8] {
        let digits = Array(hex.utf8)
        return stride(from: 0, to: digits.count, by: 2).map {
            UInt8(String(decoding: digits[$0..<$0 + 2], as: UTF8.self), radix: 16) ?? 0
        }
    }

    /// Test cases 4, 10 and 16 of the paper that GCM was submitted to NIST with: the same text with keys of three lengths.
    @Test(
        "known answers",
        arguments: [
            (
                "feffe9928665731c6d6a8f9467308308",
                "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
                "5bc94fbc3221a5db94fae95ae7121a47"
            ),
            (
                "feffe9928665731c6d6a8f9467308308feffe9928665731c",
                "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9ccda2710",
                "2519498e80f1478f37ba55bd6d27618c"
            ),
            (
                "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
                "76fc6ece0f4e1768cddf8853bb2d551b"
            ),
        ])
    func knownAnswers(key: String, cipher: String, tag: String) throws {
        let made = try #require(AESGCM(key: bytes(key)))
        let plain = bytes(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
        )
        let context = bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2")
        let nonce = bytes("cafebabefacedbaddecaf888")
        let sealed = try made.seal(plain, context: context, nonce: nonce)
        #expect(sealed == nonce + bytes(cipher) + bytes(tag))
        #expect(made.open(sealed[...], context: context) == plain)
    }

    @Test("what was changed, moved or cut does not open; nonces differ; a key of a wrong length is none")
    func refused() throws {
        let key = try #require(AESGCM(key: [UInt8](repeating: 7, count: 32)))
        let sealed = try key.seal(Array("secret".utf8), context: [1, 2])
        #expect(key.open(sealed[...], context: [1, 2]) == Array("secret".utf8))
        for place in sealed.indices {
            var changed = sealed
            changed[place] ^= 1
            #expect(key.open(changed[...], context: [1, 2]) == nil)
        }
        #expect(key.open(sealed[...], context: [1, 3]) == nil)
        for count in 0..<sealed.count { #expect(key.open(sealed.prefix(count), context: [1, 2]) == nil) }
        #expect(AESGCM(key: [UInt8](repeating: 8, count: 32))?.open(sealed[...], context: [1, 2]) == nil)
        #expect(try key.seal([], context: []).prefix(12) != key.seal([], context: []).prefix(12))
        #expect(key.open(try key.seal([], context: [])[...], context: []) == [])
        #expect(AESGCM(key: [1, 2, 3]) == nil)
    }
}
