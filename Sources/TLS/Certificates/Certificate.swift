import COpenSSL
import Synchronization

/// A name a certificate vouches for beside its subject (RFC 5280 §4.2.1.6).
package enum SubjectAlternativeName: Sendable, Hashable, CustomStringConvertible {
    case dns(String)
    /// An IPv4 or IPv6 address as text.
    case ip(String)
    /// A SPIFFE ID, for example.
    case uri(String)

    package var description: String {
        switch self {
        case .dns(let name): "DNS:\(name)"
        case .ip(let address): "IP:\(address)"
        case .uri(let uri): "URI:\(uri)"
        }
    }
}

/// An X.509 certificate.
///
/// `@unchecked Sendable`: never changed after it is made, and OpenSSL counts its references atomically.
package final class Certificate: @unchecked Sendable {
    package let pointer: OpaquePointer
    private let noted = Mutex<(any AnyObject & Sendable)?>(nil)

    /// What a reader worked out from the certificate and wants to find again: a connection's requests share one.
    package var note: (any AnyObject & Sendable)? {
        get { noted.withLock { $0 } }
        set { noted.withLock { $0 = newValue } }
    }

    package init(taking pointer: OpaquePointer) { self.pointer = pointer }

    deinit { X509_free(pointer) }

    package convenience init(der: [UInt8]) throws(TLSFailure) {
        let certificate = der.withUnsafeBufferPointer { space -> OpaquePointer? in
            var start = space.baseAddress
            return d2i_X509(nil, &start, space.count)
        }
        guard let certificate else { throw .fromQueue("reading a certificate from DER") }
        self.init(taking: certificate)
    }

    /// The first certificate in the text.
    package convenience init(pem: [UInt8]) throws(TLSFailure) {
        guard let certificate = withBIO(reading: pem, { PEM_read_bio_X509($0, nil, nil, nil) }) else {
            throw .fromQueue("reading a certificate from PEM")
        }
        self.init(taking: certificate)
    }

    package convenience init(pem: String) throws(TLSFailure) { try self.init(pem: Array(pem.utf8)) }

    /// All certificates of a bundle, in order. A bundle without any is an error.
    package static func bundle(pem: [UInt8]) throws(TLSFailure) -> [Certificate] {
        let found = withBIO(reading: pem) { bio -> [Certificate]? in
            var found: [Certificate] = []
            while let certificate = PEM_read_bio_X509(bio, nil, nil, nil) {
                found.append(Certificate(taking: certificate))
            }
            return found.isEmpty ? nil : found
        }
        guard let found else { throw .fromQueue("reading certificates from PEM") }
        ERR_clear_error()  // The reader reports the end of the text as an error.
        return found
    }

    package func der() throws(TLSFailure) -> [UInt8] {
        var start: UnsafeMutablePointer<UInt8>?
        let count = i2d_X509(pointer, &start)
        guard count > 0, let start else { throw .fromQueue("writing a certificate as DER") }
        defer { CRYPTO_free(start, #file, #line) }
        return Array(UnsafeBufferPointer(start: start, count: Int(count)))
    }

    package func pem() throws(TLSFailure) -> [UInt8] {
        guard let bytes = bytesWritten({ PEM_write_bio_X509($0, pointer) }) else {
            throw .fromQueue("writing a certificate as PEM")
        }
        return bytes
    }

    package var commonName: String? { subject(NID_commonName).first }
    package var organizations: [String] { subject(NID_organizationName) }

    private func subject(_ kind: CInt) -> [String] {
        var found: [String] = []
        var index: CInt = -1
        while true {
            var text: UnsafeMutablePointer<UInt8>?
            let count = weft_x509_subject_next(pointer, kind, &index, &text)
            guard index >= 0 else { return found }
            guard count >= 0, let text else { continue }
            found.append(String(decoding: UnsafeBufferPointer(start: text, count: Int(count)), as: UTF8.self))
            CRYPTO_free(text, #file, #line)
        }
    }

    /// Hexadecimal, upper case.
    package var serialNumber: String {
        guard let text = weft_x509_serial_hex(pointer) else { return "" }
        defer { CRYPTO_free(text, #file, #line) }
        return String(cString: text)
    }

    /// Seconds since 1970.
    package var notBefore: Int64 { weft_x509_not_before(pointer) }
    /// Seconds since 1970.
    package var notAfter: Int64 { weft_x509_not_after(pointer) }
    package var isAuthority: Bool { weft_x509_is_authority(pointer) == 1 }

    package var subjectAlternativeNames: [SubjectAlternativeName] {
        guard let names = weft_names_of(pointer) else { return [] }
        defer { GENERAL_NAMES_free(names) }
        return Self.names(names)
    }

    /// Names of the kinds we read; others are left out.
    static func names(_ names: OpaquePointer) -> [SubjectAlternativeName] {
        (0..<weft_names_count(names)).compactMap { index in
            var start: UnsafePointer<UInt8>?
            var count: CInt = 0
            let type = weft_names_entry(names, index, &start, &count)
            guard type >= 0 else { return nil }
            let bytes = Array(UnsafeBufferPointer(start: start, count: Int(count)))
            switch type {
            case GEN_DNS: return .dns(String(decoding: bytes, as: UTF8.self))
            case GEN_URI: return .uri(String(decoding: bytes, as: UTF8.self))
            default: return .ip(Self.address(bytes))
            }
        }
    }

    private static func address(_ bytes: [UInt8]) -> String {
        if bytes.count == 4 { return bytes.map(String.init).joined(separator: ".") }
        return stride(from: 0, to: bytes.count - 1, by: 2).map { index in
            String(Int(bytes[index]) << 8 | Int(bytes[index + 1]), radix: 16)
        }.joined(separator: ":")
    }

    package func publicKey() throws(TLSFailure) -> PublicKey {
        guard let key = X509_get_pubkey(pointer) else { throw .fromQueue("reading a certificate's key") }
        return PublicKey(taking: key)
    }
}
