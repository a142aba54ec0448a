import Testing
import Wire

@Suite("JSON")
struct JSONTests {
    @Test(
        "what was read is written again as it was",
        arguments: [
            #"{"b":1,"a":[true,false,null,-2.5,"x"],"c":{}}"#, "[]", "0", "-1", #""ä€𝄞""#, #"{"a":{"a":{"a":[[[]]]}}}"#,
            "9223372036854775807",
        ])
    func roundTrip(text: String) throws {
        #expect(try JSON(parsing: text).text == text)
    }

    @Test(
        "escapes are read and written",
        arguments: [
            (#""a\n\t\r\b\f\"\\\/""#, "a\n\t\r\u{8}\u{c}\"\\/"), (#""\u00e9\ud834\udd1e""#, "é𝄞"),
            (#""\ud834""#, "\u{FFFD}"), (#""\u0000""#, "\0"),
        ])
    func escapes(text: String, expected: String) throws {
        let json = try JSON(parsing: text)
        #expect(json.string == expected)
        #expect(try JSON(parsing: json.text) == json)
    }

    @Test(
        "what is not JSON is refused where it breaks",
        arguments: [
            ("", 0), ("{", 1), ("[1,]", 3), ("{\"a\":1,}", 7), ("nul", 0), ("01", 2), ("1.", 2), ("1e", 2), ("\"a", 2),
            ("\"\u{1}\"", 1), ("[1] 2", 4), ("+1", 0),
            ("{\"a\" 1}", 5), ("\"\\x\"", 3), ("--1", 1), ("1e999", 5),
        ])
    func refused(text: String, offset: Int) {
        #expect { try JSON(parsing: text) } throws: { error in
            guard let fault = error as? JSONFault else { return false }
            return abs(fault.offset - offset) <= 1
        }
    }

    @Test("bad UTF-8 in a string is refused")
    func badUTF8() {
        #expect(throws: JSONFault.self) { try JSON(parsing: [0x22, 0xC3, 0x28, 0x22]) }
        #expect(throws: JSONFault.self) { try JSON(parsing: [0x22, 0x5C, 0x6E, 0xFF, 0x22]) }
    }

    @Test("nesting is bounded")
    func depth() throws {
        let deep = String(repeating: "[", count: 500) + String(repeating: "]", count: 500)
        _ = try JSON(parsing: deep)
        #expect { try JSON(parsing: String(repeating: "[", count: 100_000)) } throws: {
            ($0 as? JSONFault)?.reason == .tooDeep
        }
    }

    @Test("members that stand twice are told by path, and the last one counts")
    func duplicates() throws {
        var found: [String] = []
        let json = try JSON(parsing: Array(#"{"a":1,"b":[{"c":1,"c":2}],"a":3}"#.utf8), duplicates: &found)
        #expect(found == ["b.[0].c", "a"])
        #expect(json["a"] == 3)
        #expect(json["b"]?[0]?["c"] == 2)
    }

    @Test("a member is found twice among many too")
    func manyMembers() throws {
        let members = (0..<40).map { "\"k\($0)\":\($0)" } + ["\"k7\":70"]
        var found: [String] = []
        let json = try JSON(parsing: Array("{\(members.joined(separator: ","))}".utf8), duplicates: &found)
        #expect(found == ["k7"])
        #expect(json.object?.count == 40)
    }

    @Test("paths are read, set, made and removed")
    func paths() {
        var json: JSON = ["a": ["b": 1]]
        #expect(json[path: ["a", "b"]] == 1)
        json[path: ["x", "y", "z"]] = "deep"
        #expect(json["x"]?["y"]?["z"] == "deep")
        json[path: ["a", "b"]] = nil
        #expect(json["a"] == [:])
        json["x"]?["y"]?["z"] = 5
        #expect(json[path: ["x", "y", "z"]] == 5)
        json["x"]?["y"]?["z"] = nil
        #expect(json["x"] == ["y": [:]])
        json["x"]?["no"]?["z"] = 1
        #expect(json["x"] == ["y": [:]])
        let before = json
        json["x"]?["y"] = [1]
        #expect(before["x"] == ["y": [:]])
        #expect(json["x"] == ["y": [1]])
        json[path: ["not", "there"]] = nil
        #expect(json["not"] == nil)
    }

    @Test("objects are equal in any order of members")
    func equality() {
        let one: JSON = ["a": 1, "b": 2]
        let other: JSON = ["b": 2, "a": 1]
        #expect(one == other)
        #expect(one.hashValue == other.hashValue)
        #expect(one != ["a": 1])
    }
}
