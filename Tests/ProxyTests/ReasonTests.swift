import Glibc
import Kernel
import Testing
import Wire

@testable import Proxy

@Suite struct ReasonTests {
    private func page() throws -> String {
        String(decoding: try SmallFile.read("\(Reader.root)docs/reasons.md"), as: UTF8.self)
    }

    @Test("docs/reasons.md shows the table the proxy has, and every flag")
    func documented() throws {
        let page = try page()
        for reason in Reason.all {
            let row =
                "| `\(reason.word)` | \(reason.flags) | \(reason.status) | \(reason.meaning) | \(reason.cause) |\n"
            #expect(page.contains(row), "\(row)")
        }
        #expect(Set(Reason.all.map(\.word)).count == Reason.all.count)
        for flag in ResponseFlag.allCases {
            #expect(page.contains("| `\(flag.short)` |"), "\(flag)")
            #expect(Reason.named("\(flag.reason)")?.flags.contains(flag.short) == true, "\(flag)")
        }
        for fault in HeadFault.allCases { #expect(Reason.named("\(fault.word)") != nil, "\(fault)") }
    }

    /// Words in the sources that name no answer: why an endpoint is ejected, and counts of policies that are only tried.
    private static let others: Set<String> = [
        "consecutive_5xx", "consecutive_gateway_errors", "consecutive_local_failures", "failure_percentage",
        "success_rate", "dry_run_allowed", "dry_run_denied", "mutual_tls", "access_token", "key_ops",
        "bad_answer",
    ]

    @Test("no source of the data plane gives a reason the table does not have")
    func complete() throws {
        let command =
            "cd '\(Reader.root)' && find Sources/Proxy Sources/Wire/HTTP1 -name '*.swift' -not -path '*/Observe/*'"
            + " -not -path '*/Admin/*' -not -path '*/Configuration/*' | xargs grep -hE 'answer\\(|case |reason|return|full:|\\? \"'"
            + " | grep -oE '\"[a-z][a-z0-9]*(_[a-z0-9]+)+\"' | tr -d '\"' | sort -u"
        let pipe = try #require(popen(command, "r"))
        var words: Set<String> = []
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, Int32(line.count), pipe) != nil {
            words.insert(String(decoding: line.prefix { $0 > 32 }.map { UInt8(bitPattern: $0) }, as: UTF8.self))
        }
        pclose(pipe)
        #expect(words.count > 60, "\(words.count)")
        for word in words.subtracting(Self.others) { #expect(Reason.named(word) != nil, "\(word)") }
    }
}
