import Testing
import Wire

@Suite struct PatternTests {
    @Test(
        "an expression matches the whole text",
        arguments: [
            ("/api/v[0-9]+/.*", "/api/v12/x", true), ("/api/v[0-9]+/.*", "/api/v/x", false),
            ("/api/v[0-9]+", "/api/v1/x", false), ("a|ab", "ab", true), ("(a|ab)(c|bcd)", "abcd", true),
            ("", "", true), ("", "a", false), ("a{2,3}", "a", false), ("a{2,3}", "aaa", true), ("a{2}", "aaa", false),
            ("a{2,}", "aaaaa", true), ("[^/]+", "abc", true), ("[^/]+", "a/c", false), ("^/x$", "/x", true),
            ("(?i)Jason", "jAsOn", true), ("(?i:J)ason", "jason", true), ("(?i:J)ason", "jAson", false),
            ("\\d{3}-\\d{4}", "555-1234", true), ("\\w+@\\w+\\.com", "me@example.com", true), (".", "\n", false),
            ("(?s).", "\n", true), ("[[:alpha:]]+", "abC", true), ("[[:alpha:]]+", "ab1", false), ("[]a]+", "]a", true),
            ("[a\\-z]+", "-", true), ("\\Qa.b\\E+", "a.bbb", true), ("\\x41\\x{42}", "AB", true), ("é+", "éé", true),
            (".*\\bbar\\b.*", "foo bar baz", true), (".*\\bbar\\b.*", "foobarbaz", false), ("(?P<n>x)y", "xy", true),
            ("(?:)*", "", true), ("(a*)*b", "aaaaab", true), ("((a|b)|(c))?", "c", true), ("x*?y", "xxy", true),
            ("$", "", true), ("a$b", "ab", false), ("(?m)a$\nb", "a\nb", true),
        ])
    func whole(expression: String, text: String, expected: Bool) throws {
        #expect(try Pattern(expression).matches(text) == expected)
    }

    @Test(
        "an expression that cannot be used is refused, with the place",
        arguments: [
            ("a(b", 1), ("a)b", 1), ("[ab", 0), ("*a", 0), ("a**", 2), ("a{3,2}", 1), ("a{2000}", 1), ("(a)\\1", 3),
            ("(?=a)", 0), ("(?<!a)", 0), ("\\pL", 0), ("a\\", 1), ("[z-a]", 4), ("(?q)", 2), ("\\j", 0), ("x{", 1),
        ])
    func refused(expression: String, position: Int) {
        #expect {
            try Pattern(expression)
        } throws: {
            ($0 as? PatternFault)?.position == position
        }
    }

    @Test(
        "what would take too much memory is refused",
        arguments: ["((a{100}){100}){100}", "(?:(?:(?:){1000}){1000}){1000}a{1000}b{1000}"])
    func tooLarge(expression: String) {
        #expect(throws: PatternFault.self) { try Pattern(expression) }
        #expect(throws: PatternFault.self) { try Pattern(String(repeating: "(", count: 2000)) }
        #expect(throws: PatternFault.self) { try Pattern(String(repeating: "a", count: 5000)) }
    }

    @Test("a text made to be slow is not: twice the text takes about twice the steps")
    func linear() throws {
        // Doubling a text of nested choices would be hopeless for a matcher that goes back.
        let pattern = try Pattern("(a|aa)+(a?){30}b\\b")
        #expect(!pattern.matches(String(repeating: "a", count: 2000)))
        #expect(pattern.matches(String(repeating: "a", count: 2000) + "b"))
    }

    @Test(
        "matches are replaced, groups by their numbers",
        arguments: [
            ("^/service/([^/]+)(/.*)$", "\\2/instance/\\1", "/service/foo/v1/api", "/v1/api/instance/foo"),
            ("one", "two", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/two/zzz"),
            ("^(.*?)one(.*)$", "\\1two\\2", "/xxx/one/yyy/one/zzz", "/xxx/two/yyy/one/zzz"),
            ("(?i)/xxx/", "/yyy/", "/aaa/XxX/bbb", "/aaa/yyy/bbb"), ("b*", "-", "abc", "-a-c-"),
            ("x", "y", "none", "none"),
            ("(a)|(b)", "[\\1\\2\\0]", "ab", "[aa][bb]"), ("a+?", "x", "aaa", "xxx"), ("a", "\\\\", "cat", "c\\t"),
        ])
    func replaced(expression: String, substitution: String, text: String, expected: String) throws {
        #expect(try Pattern(expression).replacing(in: text, with: substitution) == expected)
    }

    @Test("a result that would not fit is not made")
    func tooLong() throws {
        let text = String(repeating: "a", count: 100)
        #expect(try Pattern("a").replacing(in: text, with: "bbb", limit: 299) == nil)
        #expect(try Pattern("a").replacing(in: text, with: "bbb", limit: 300)?.count == 300)
    }

    @Test("the two ways to match agree on random expressions and texts")
    func agreement() throws {
        var random = SystemRandomNumberGenerator()
        func expression(_ depth: Int) -> String {
            switch Int.random(in: 0..<(depth > 0 ? 8 : 3), using: &random) {
            case 0: return "a"
            case 1: return "[ab]"
            case 2: return "c"
            case 3: return expression(depth - 1) + expression(depth - 1)
            case 4: return "(\(expression(depth - 1))|\(expression(depth - 1)))"
            case 5: return "(\(expression(depth - 1)))*"
            case 6: return "(\(expression(depth - 1)))?"
            default: return "(\(expression(depth - 1))){1,2}"
            }
        }
        for _ in 0..<300 {
            let made = expression(4)
            let table = try Pattern(made)
            // A word boundary or its absence always holds, and keeps the table from being made.
            let steps = try Pattern("(?:\\b|\\B)(?:\(made))")
            for _ in 0..<20 {
                let text = String(
                    (0..<Int.random(in: 0..<8, using: &random)).map { _ in "abc".randomElement(using: &random) ?? "a" })
                #expect(table.matches(text) == steps.matches(text), "\(made) on \(text)")
            }
        }
    }
}
