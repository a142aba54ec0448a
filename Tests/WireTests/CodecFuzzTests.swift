import Glibc
import Testing
import Wire

/// Random input to the codecs: `make fuzz` runs many rounds, a plain test run few. A crash or a broken round trip is the failure.
private let rounds = getenv("WEFT_FUZZ_ITERATIONS").flatMap { Int(String(cString: $0)) } ?? 20_000

/// SplitMix64: small, and the same on every run, so that a failure can be looked at again.
private struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
        return z ^ z >> 31
    }
}

/// A valid text with a few bytes changed, taken out or doubled.
private func mutated(_ bytes: [UInt8], _ random: inout SeededGenerator) -> [UInt8] {
    var bytes = bytes
    for _ in 0..<Int.random(in: 0...4, using: &random) where !bytes.isEmpty {
        let place = Int.random(in: 0..<bytes.count, using: &random)
        switch Int.random(in: 0...3, using: &random) {
        case 0: bytes[place] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes.remove(at: place)
        case 2: bytes.insert(bytes[place], at: place)
        default: bytes.removeLast(bytes.count - place)
        }
    }
    return bytes
}

@Suite("Fuzz: codecs against random input")
struct CodecFuzzTests {
    private static let manifest = Array(
        #"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"w\u00e9b","labels":{"a":"b"}},"spec":{"replicas":2,"x":[1,-2.5e3,true,null,"\ud834\udd1e"]}}"#
            .utf8)

    @Test("Fuzz: JSON that parses is written the same after it is read again")
    func json() throws {
        var random = SeededGenerator(state: 1)
        var accepted = 0
        for _ in 0..<rounds {
            guard let value = try? JSON(parsing: mutated(Self.manifest, &random)) else { continue }
            accepted += 1
            #expect(try JSON(parsing: value.bytes).bytes == value.bytes)
        }
        #expect(accepted > rounds / 10)
    }

    @Test("Fuzz: a protobuf reader walks or refuses any bytes and never passes their end")
    func protobuf() {
        var random = SeededGenerator(state: 2)
        for _ in 0..<rounds {
            let bytes = (0..<Int.random(in: 0...64, using: &random)).map { _ in
                UInt8.random(in: 0...255, using: &random)
            }
            var reader = ProtobufReader(bytes)
            var fields = 0
            while let tag = try? reader.nextTag() {
                fields += 1
                guard (try? reader.skip(tag)) != nil else { break }
            }
            #expect(fields <= bytes.count)
        }
    }
}
