import KubeTypes

/// The form a client wants its answer in.
enum AnswerForm: Sendable, Hashable {
    case object
    case table
    case partial
    /// From a client that takes nothing else.
    case protobuf
}

/// One entry of an `Accept` header.
struct MediaRange: Hashable {
    let type: String
    let parameters: [String: String]

    static func list(_ header: String) -> [MediaRange] {
        header.split(separator: ",").map { entry in
            let parts = entry.split(separator: ";").map { trimmed($0) }
            var parameters: [String: String] = [:]
            for part in parts.dropFirst() {
                let pair = part.split(separator: "=", maxSplits: 1).map { trimmed($0) }
                if pair.count == 2 { parameters[pair[0].lowercased()] = pair[1] }
            }
            return MediaRange(type: parts.first?.lowercased() ?? "", parameters: parameters)
        }
    }

    private static func trimmed(_ text: some StringProtocol) -> String {
        var rest = Substring(text)
        while rest.first == " " || rest.first == "\t" { rest.removeFirst() }
        while rest.last == " " || rest.last == "\t" { rest.removeLast() }
        return String(rest)
    }
}

extension AnswerForm {
    /// The first form in the client's order that we speak.
    ///
    /// - Throws: 406 when there is none.
    init(accept header: String?) throws(APIFailure) {
        guard let header, !header.isEmpty, header != ResourceDefinition.jsonType, header != "*/*" else {
            self = .object
            return
        }
        let ranges = MediaRange.list(header)
        for range in ranges
        where range.type == "application/json" || range.type == "*/*" || range.type == "application/*" {
            switch range.parameters["as"] {
            case nil: self = .object
            case "Table" where range.parameters["g"] == "meta.k8s.io" && range.parameters["v"] == "v1": self = .table
            case "PartialObjectMetadata", "PartialObjectMetadataList": self = .partial
            default: continue
            }
            return
        }
        guard ranges.contains(where: { $0.type == ResourceDefinition.protobufType && $0.parameters["as"] == nil })
        else {
            throw Self.notAcceptable
        }
        self = .protobuf
    }

    static let notAcceptable = APIFailure(
        code: 406, reason: "NotAcceptable",
        message: "only the following media types are accepted: application/json, \(ResourceDefinition.protobufType)")
}
