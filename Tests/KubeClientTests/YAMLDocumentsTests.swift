import KubeClient
import Testing
import Wire

@Suite("YAML documents")
struct YAMLDocumentsTests {
    @Test("a stream of documents keeps order, lines and types")
    func stream() throws {
        let documents = try yamlDocuments(
            """
            a: 1
            b: ["x", 2.5, true, null, "5"]
            ---
            # only a comment
            ---
            kind: Pod
            metadata: {name: web}
            """)
        #expect(
            documents.map(\.json) == [
                ["a": 1, "b": ["x", 2.5, true, .null, "5"]],
                ["kind": "Pod", "metadata": ["name": "web"]],
            ])
        #expect(documents.map(\.line) == [1, 6])
    }

    @Test(
        "plain scalars follow YAML 1.1, quoted ones are strings",
        arguments: [
            ("yes", JSON.bool(true)), ("\"yes\"", .string("yes")), ("0x10", .int(16)), ("1e3", .double(1000)),
            ("1.2.3", .string("1.2.3")), ("~", .null), ("2026-01-02", .string("2026-01-02")), ("-5", .int(-5)),
            ("8080", .int(8080)), ("'8080'", .string("8080")),
        ])
    func scalars(text: String, expected: JSON) throws {
        #expect(try yamlDocuments("v: \(text)").first?.json["v"] ?? .null == expected)
    }

    @Test("bad syntax names the line")
    func badSyntax() {
        #expect { try yamlDocuments("a: 1\nb: [1, 2\nc: 3\n") } throws: { error in
            (error as? YAMLFault).map { $0.line >= 2 } ?? false
        }
    }

    @Test("a key twice in one mapping is refused by name")
    func twice() {
        #expect { try yamlDocuments("a: 1\na: 2\n") } throws: { error in
            (error as? YAMLFault)?.message.contains("a") ?? false
        }
    }

    @Test("a byte order mark and Windows line ends are no part of the text")
    func byteOrderMark() throws {
        let documents = try yamlDocuments("\u{FEFF}a: 1\r\nb: x\r\n")
        #expect(documents.first?.json["a"] == 1 && documents.first?.json["b"] == "x")
    }

    @Test("aliases that repeat each other end in an error, not in billions of values")
    func aliasBomb() throws {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        for level in 1...30 {
            text += "a\(level): &a\(level) [\((0..<9).map { _ in "*a\(level - 1)" }.joined(separator: ", "))]\n"
        }
        #expect { try yamlDocuments(text) } throws: { error in
            (error as? YAMLFault)?.message.contains("aliases repeat too much") ?? false
        }
        #expect { try yamlDocuments(text, aliasLimit: 16) } throws: { error in
            (error as? YAMLFault)?.message.contains("more than 16 aliases") ?? false
        }
        let modest = try yamlDocuments("a: &a {x: 1}\nb: *a\nc: [*a, *a]\n", aliasLimit: 16)
        #expect(modest.first?.json["c"]?[1]?["x"] == 1)
    }

    @Test("nesting has a bound, by itself and through aliases")
    func depth() throws {
        func nested(_ depth: Int) -> String {
            String(repeating: "[", count: depth) + "1" + String(repeating: "]", count: depth)
        }
        #expect(try yamlDocuments("a: \(nested(400))").count == 1)
        #expect(throws: YAMLFault.self) { try yamlDocuments("a: \(nested(900))") }
        #expect(throws: YAMLFault.self) { try yamlDocuments("a: \(nested(200_000))") }
        let inner = nested(300)
        let chained = inner.replacing("1", with: "*a")
        #expect { try yamlDocuments("a: &a \(inner)\nb: \(chained)\n") } throws: { error in
            (error as? YAMLFault)?.message.contains("deep in each other") ?? false
        }
    }
}
