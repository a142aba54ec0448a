import Glibc
import Kernel

/// What `dig` says, run inside a namespace. Its package is bind9-dnsutils.
struct Dig {
    var status: String
    var flags: Set<String> = []
    /// Name, type and data of each answer, as dig writes them, sorted.
    var answers: [String] = []
    var additionals: [String] = []

    static let server = "10.96.0.10"

    static func ask(_ name: String, _ type: String, _ options: String = "", in namespace: String) async throws -> Dig {
        let command =
            "dig @\(server) +time=10 +tries=1 +noall +comments +answer +additional \(options) \(name) \(type) 2>&1"
        let output = try await NetworkNamespace.perform(in: namespace) { () throws(SystemCallFailed) in
            guard let pipe = popen(command, "r") else { throw SystemCallFailed("popen", code: errno, on: command) }
            defer { pclose(pipe) }
            var bytes: [UInt8] = []
            var space = [UInt8](repeating: 0, count: 65536)
            while true {
                let count = fread(&space, 1, space.count, pipe)
                if count == 0 { break }
                bytes += space[..<count]
            }
            return String(decoding: bytes, as: UTF8.self)
        }
        return Dig(output)
    }

    private init(_ output: String) {
        status = output.isEmpty ? "dig did not run" : output
        var section = ""
        for line in output.split(separator: "\n") {
            if line.hasPrefix(";; ->>HEADER") {
                let words = line.split(separator: " ")
                status = words.drop { $0 != "status:" }.dropFirst().first.map { String($0.dropLast()) } ?? ""
            } else if line.hasPrefix(";; flags: ") {
                flags = Set(line.dropFirst(10).split(separator: ";")[0].split(separator: " ").map(String.init))
            } else if line.hasPrefix(";; "), line.hasSuffix("SECTION:") {
                section = String(line.split(separator: " ")[1])
            } else if !line.hasPrefix(";") {
                read(line, section)
            }
        }
        answers.sort()
        additionals.sort()
    }

    private mutating func read(_ line: Substring, _ section: String) {
        let words = line.split { $0 == " " || $0 == "\t" }.map(String.init)
        guard words.count > 4 else { return }
        let record = ([words[0]] + words[3...]).joined(separator: " ")
        if section == "ANSWER" { answers.append(record) } else { additionals.append(record) }
    }
}
