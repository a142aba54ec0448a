import Testing
import Wire

@Suite("Finding a value in JSON text")
struct JSONScanTests {
    private let text = Array(
        #"{"kind":"Pod","metadata":{"name":"a\"b\\","labels":{"app":"web","x":"}{"},"deep":{"a":[1,{"b":"]"}],"c":null}},"spec":{"n":-1.5e3,"t":true}}"#
            .utf8)

    @Test(
        "the value at a path, whatever stands before it",
        arguments: [
            (["kind"], #""Pod""#), (["metadata", "name"], #""a\"b\\""#), (["metadata", "labels", "x"], #""}{""#),
            (["metadata", "deep", "a"], #"[1,{"b":"]"}]"#), (["metadata", "deep", "c"], "null"),
            (["spec", "n"], "-1.5e3"), (["spec", "t"], "true"), (["spec"], #"{"n":-1.5e3,"t":true}"#),
        ])
    func found(path: [String], value: String) throws {
        let range = try #require(JSONScan.range(at: path, in: text))
        #expect(String(decoding: text[range], as: UTF8.self) == value)
    }

    @Test(
        "what is not there is not found", arguments: [["x"], ["metadata", "app"], ["kind", "x"], ["spec", "n", "y"]])
    func missing(path: [String]) { #expect(JSONScan.range(at: path, in: text) == nil) }

    @Test("text cut anywhere never leads outside it")
    func cut() {
        for count in 0...text.count {
            let part = Array(text[..<count])
            for path in [["spec", "t"], ["metadata", "labels", "x"], ["kind"]] {
                if let range = JSONScan.range(at: path, in: part) { #expect(range.upperBound <= count) }
            }
        }
    }

    @Test("it finds what the parser finds, in random objects")
    func random() throws {
        var seed: UInt64 = 7
        func number(_ limit: Int) -> Int {
            seed = seed &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(seed >> 33) % limit
        }
        func value(_ depth: Int) -> JSON {
            switch number(depth > 3 ? 4 : 6) {
            case 0: return .int(Int64(number(1000)) - 500)
            case 1: return .string(["", "a\"b", "\\", "{}[],:", "é\n"][number(5)])
            case 2: return .bool(number(2) == 0)
            case 3: return .null
            case 4: return .array((0..<number(4)).map { _ in value(depth + 1) })
            default: return .object(JSONObject((0..<number(5)).map { .init("k\($0)", value(depth + 1)) }))
            }
        }
        for _ in 0..<500 {
            let json = JSON.object(JSONObject((0..<4).map { .init("k\($0)", value(0)) }))
            let bytes = json.bytes
            for path in [["k0"], ["k3"], ["k1", "k2"], ["k2", "k0", "k1"]] {
                #expect(JSONScan.value(at: path, in: bytes) == json[path: path])
            }
        }
    }
}
