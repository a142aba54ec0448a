extension Library {
    /// `jsonpatch.escapeKey`: a name as part of a JSON pointer.
    package static let jsonPatch = Library([
        Function(
            "jsonpatch.escapeKey",
            .global("jsonpatch_escapeKey_string", [.string], .string, cost: .traversal(0)) {
                (values) throws(EvaluationFault) -> Value in
                let escaped = try values[0].text().unicodeScalars.map {
                    $0 == "~" ? "~0" : $0 == "/" ? "~1" : String($0)
                }
                return .string(escaped.joined())
            })
    ])
}

extension Environment {
    /// What all of Kubernetes' expressions may use, without variables.
    package static let kubernetes: Environment = {
        var environment = Environment([
            .standard, .optionals, .strings, .lists, .sets, .regex, .urls, .quantities, .network, .versions, .formats,
            .jsonPatch,
        ])
        environment.hasUniformLiterals = true
        return environment
    }()
}
