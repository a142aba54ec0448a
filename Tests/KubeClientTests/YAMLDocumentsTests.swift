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
}
