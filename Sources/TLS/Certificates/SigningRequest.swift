import COpenSSL

/// A request for a certificate, as its future holder signed it (PKCS #10, RFC 2986).
///
/// `@unchecked Sendable`: never changed after it is made.
package final class SigningRequest: @unchecked Sendable {
    package let pointer: OpaquePointer
    package let subjectAlternativeNames: [SubjectAlternativeName]
    /// Whether names of kinds are asked for that we do not read, such as mail addresses.
    package let hasOtherNames: Bool

    /// - Throws: for what is no PEM "CERTIFICATE REQUEST", or is not signed with its own key.
    package init(pem: [UInt8]) throws(TLSFailure) {
        guard let request = weft_request_read(pem, CInt(pem.count)) else {
            throw .fromQueue("reading a certificate request from PEM")
        }
        guard weft_request_is_signed(request) == 1 else {
            X509_REQ_free(request)
            throw .fromQueue("the certificate request is not signed with its own key")
        }
        pointer = request
        let names = weft_request_names(request)
        defer { GENERAL_NAMES_free(names) }
        let count = names.map { Int(weft_names_count($0)) } ?? 0
        subjectAlternativeNames = names.map { Certificate.names($0) } ?? []
        hasOtherNames = subjectAlternativeNames.count < count
        ERR_clear_error()
    }

    deinit { X509_REQ_free(pointer) }

    package var commonName: String? { subjectTexts(X509_REQ_get_subject_name(pointer), "CN").first }
    package var organizations: [String] { subjectTexts(X509_REQ_get_subject_name(pointer), "O") }

    package func publicKey() throws(TLSFailure) -> PublicKey {
        guard let key = X509_REQ_get_pubkey(pointer) else { throw .fromQueue("reading a certificate request's key") }
        return PublicKey(taking: key)
    }
}

/// The values of one attribute of a name, in order. `oid`: a dotted number, or a name OpenSSL knows.
func subjectTexts(_ name: OpaquePointer?, _ oid: String) -> [String] {
    var found: [String] = []
    var index: CInt = -1
    while true {
        var text: UnsafeMutablePointer<UInt8>?
        let count = weft_name_next(name, oid, &index, &text)
        guard index >= 0 else { return found }
        guard count >= 0, let text else { continue }
        found.append(String(decoding: UnsafeBufferPointer(start: text, count: Int(count)), as: UTF8.self))
        CRYPTO_free(text, #file, #line)
    }
}

extension Certificate {
    /// The values of an attribute of the subject.
    package func subject(oid: String) -> [String] { subjectTexts(X509_get_subject_name(pointer), oid) }
}
