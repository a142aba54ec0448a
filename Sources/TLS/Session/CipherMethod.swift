import COpenSSL

/// How OpenSSL calls one end of a session's ciphertext. Lives as long as the program.
struct CipherMethod: @unchecked Sendable {  // OpenSSL only reads a method table once it is made.
    /// `nil` when there was no memory for it.
    private let table: OpaquePointer?

    init(_ name: String, _ fill: (OpaquePointer) -> Void) {
        table = BIO_meth_new(weft_bio_type(), name)
        if let table { fill(table) }
    }

    /// An end that works on `data`, which must not move and outlive it.
    func bio(_ data: UnsafeMutableRawPointer) -> OpaquePointer? {
        guard let table, let bio = BIO_new(table) else { return nil }
        BIO_set_data(bio, data)
        BIO_set_init(bio, 1)
        return bio
    }
}
