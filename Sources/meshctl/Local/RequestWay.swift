import Wire

/// What would become of a request, in words: the rule that takes it and why others do not, where it may go, what is said there.
struct RequestWay {
    private let answer: JSON

    init(_ answer: JSON) { self.answer = answer }

    var text: String {
        let client = answer["client"]
        var lines = ["from \(answer["from"]?.string ?? "") to \(client?["destination"]?.string ?? "nothing it knows")"]
        if let message = client?["message"]?.string { lines.append("  \(message)") }
        for rule in client?["rules"]?.array ?? [] {
            let name = rule["name"]?.string ?? ""
            if rule["takesTheRequest"]?.bool == true {
                lines.append("  \(Terminal.green("takes it")) \(name)")
            } else {
                lines.append("  \(Terminal.dim("does not")) \(name): \(rule["why"]?.string ?? "")")
            }
        }
        switch client?["outcome"]?.string ?? "" {
        case "no_route" where client?["destination"] == nil: break
        case "default": lines.append("  no rule takes it: it goes to the service itself")
        case "no_route", "no_backend": lines.append("  \(Terminal.red("no rule takes it")): it would be refused")
        case "direct_response": lines.append("  answered by the proxy with \(client?["status"]?.text ?? "")")
        default: break
        }
        for backend in client?["backends"]?.array ?? [] {
            let count = backend["endpoints"]?.array?.count ?? 0
            let weight = backend["weight"]?.text ?? ""
            let message = backend["message"]?.string.map { ": \($0)" } ?? ""
            let endpoints = "\(count) endpoint\(count == 1 ? "" : "s")"
            lines.append("  -> \(backend["backend"]?.string ?? "") weight \(weight), \(endpoints)\(message)")
        }
        for server in answer["servers"]?.array ?? [] { lines += describe(server) }
        return lines.joined(separator: "\n")
    }

    private func describe(_ server: JSON) -> [String] {
        let name = "\(server["pod"]?.string ?? "") \(server["address"]?.string ?? "")"
        guard let inbound = server["inbound"] else {
            return ["at \(name): \(server["outcome"]?.string ?? server["message"]?.string ?? "not known")"]
        }
        let outcome = inbound["outcome"]?.string ?? ""
        let word = outcome == "allowed" ? Terminal.green(outcome) : Terminal.red(outcome)
        let policy = inbound["policy"]?.string.map { " by \($0)" } ?? ""
        var lines = ["at \(name): \(word)\(policy)"]
        if let message = inbound["message"]?.string { lines.append("  \(message)") }
        for entry in inbound["policies"]?.array ?? [] {
            let matches = entry["matches"]?.bool == true ? "matches" : "does not match"
            let trial = entry["dryRun"]?.bool == true ? ", only tried" : ""
            lines.append("  \(entry["action"]?.string ?? "") \(entry["name"]?.string ?? ""): \(matches)\(trial)")
        }
        return lines
    }
}
