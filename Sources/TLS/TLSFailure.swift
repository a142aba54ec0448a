import COpenSSL

/// What TLS or a certificate operation could not do, with OpenSSL's own reasons.
package struct TLSFailure: Error, Sendable, Hashable, CustomStringConvertible {
    package let what: String
    /// Outermost first; empty when the reason is ours and stands in `what`.
    package let reasons: [String]

    package init(_ what: String, reasons: [String] = []) {
        self.what = what
        self.reasons = reasons
    }

    package var description: String { reasons.isEmpty ? what : "\(what): \(reasons.joined(separator: ", "))" }

    /// Takes what OpenSSL left in this thread's error queue, which is empty afterwards.
    package static func fromQueue(_ what: String) -> TLSFailure {
        var reasons: [String] = []
        while true {
            let code = ERR_get_error()
            if code == 0 { break }
            if let text = ERR_reason_error_string(code) {
                reasons.append(String(cString: text))
            } else {
                var space = [CChar](repeating: 0, count: 256)
                ERR_error_string_n(code, &space, space.count)
                reasons.append(String(decoding: space.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self))
            }
        }
        return TLSFailure(what, reasons: reasons)
    }
}
