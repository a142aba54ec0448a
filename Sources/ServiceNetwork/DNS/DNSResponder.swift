import Wire

/// What a server answers to the bytes of one message: pure, any bytes at all.
enum DNSResponder {
    /// Larger answers would be fragments on common links (DNS flag day 2020).
    static let largestDatagram = 1232

    /// - Parameter lookUp: asks the zone.
    /// - Returns: `nil` when silence is the answer: no header, or a response.
    static func respond(
        to bytes: [UInt8], overTCP: Bool, _ lookUp: (DNSQuestion) -> DNSAnswer
    ) -> [UInt8]? {
        let query: DNSMessage
        do throws(DNSFault) { query = try DNSMessage(parsing: bytes) } catch {
            guard case .malformed(let id, false) = error else { return nil }
            var response = DNSMessage(id: id)
            response.isResponse = true
            response.code = .formatError
            return response.composed(limit: 512)
        }
        if query.isResponse { return nil }
        let response = respond(to: query, lookUp)
        if overTCP { return response.composed() }
        let wanted = query.extensions.map { max(512, Int($0.payloadSize)) } ?? 512
        return response.composed(limit: min(wanted, largestDatagram))
    }

    private static func respond(to query: DNSMessage, _ lookUp: (DNSQuestion) -> DNSAnswer) -> DNSMessage {
        if query.opcode != 0 {
            var response = query.response(.notImplemented)
            response.questions = []
            return response
        }
        if let extensions = query.extensions, extensions.version != 0 { return query.response(.badVersion) }
        guard query.questions.count == 1 else { return query.response(.formatError) }
        let question = query.questions[0]
        // TSIG, IXFR, AXFR: whole zones are not given away.
        let isTransfer = (250...252).contains(question.type.rawValue)
        guard question.questionClass == 1 || question.questionClass == 255, !isTransfer else {
            return query.response(.refused)
        }
        let answer = lookUp(question)
        var response = query.response(answer.code)
        response.isAuthoritative = answer.code != .refused && answer.code != .serverFailure
        response.answers = answer.answers
        response.authorities = answer.authorities
        response.additionals = answer.additionals
        return response
    }
}
