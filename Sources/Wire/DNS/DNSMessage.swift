/// A DNS query or response (RFC 1035 §4). The OPT record stands in `extensions`, not among the additional records.
package struct DNSMessage: Sendable, Hashable {
    package var id: UInt16
    package var isResponse = false
    package var opcode: UInt8 = 0  // 0 is a standard query; 4 bits
    package var isAuthoritative = false
    package var isTruncated = false
    package var wantsRecursion = false
    package var offersRecursion = false
    package var code = DNSCode.noError
    package var questions: [DNSQuestion] = []
    package var answers: [DNSRecord] = []
    package var authorities: [DNSRecord] = []
    package var additionals: [DNSRecord] = []
    package var extensions: DNSExtensions?

    package init(id: UInt16) { self.id = id }

    /// An empty response to this query, with its id and questions.
    package func response(_ code: DNSCode = .noError) -> DNSMessage {
        var response = DNSMessage(id: id)
        response.isResponse = true
        response.opcode = opcode
        response.wantsRecursion = wantsRecursion
        response.code = code
        response.questions = questions
        if extensions != nil { response.extensions = DNSExtensions(payloadSize: 1232) }
        return response
    }

    /// A query as a stub resolver sends it.
    package static func query(id: UInt16, _ name: DNSName, _ type: DNSType) -> DNSMessage {
        var query = DNSMessage(id: id)
        query.wantsRecursion = true
        query.questions = [DNSQuestion(name: name, type: type)]
        return query
    }
}

package struct DNSQuestion: Sendable, Hashable {
    package var name: DNSName
    package var type: DNSType
    package var questionClass: UInt16
    package init(name: DNSName, type: DNSType, questionClass: UInt16 = 1) {
        self.name = name
        self.type = type
        self.questionClass = questionClass
    }
}

/// What the OPT record says (RFC 6891 §6.1).
package struct DNSExtensions: Sendable, Hashable {
    /// The largest UDP message the sender takes.
    package var payloadSize: UInt16
    package var version: UInt8 = 0
    package var wantsSignatures = false
    package var options: [UInt8] = []
    package init(payloadSize: UInt16) { self.payloadSize = payloadSize }
}

/// How a query went. Codes above 15 need `extensions`.
package struct DNSCode: RawRepresentable, Sendable, Hashable {
    package let rawValue: UInt16  // 12 bits
    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static let noError = DNSCode(rawValue: 0)
    package static let formatError = DNSCode(rawValue: 1)
    package static let serverFailure = DNSCode(rawValue: 2)
    package static let noSuchName = DNSCode(rawValue: 3)
    package static let notImplemented = DNSCode(rawValue: 4)
    package static let refused = DNSCode(rawValue: 5)
    package static let badVersion = DNSCode(rawValue: 16)
}

/// Bytes that are no DNS message.
package enum DNSFault: Error, Sendable, Hashable {
    /// Not even a header: there is nobody to answer.
    case noHeader
    /// The rest does not follow the header. A query of this id deserves FORMERR; a response does not.
    case malformed(id: UInt16, isResponse: Bool)
}
