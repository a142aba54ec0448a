import COpenSSL

/// Runs a read from bytes, as OpenSSL's PEM and DER readers want it.
func withBIO<Value>(reading bytes: [UInt8], _ read: (OpaquePointer) -> Value?) -> Value? {
    bytes.withUnsafeBytes { space in
        guard let bio = BIO_new_mem_buf(space.baseAddress, CInt(space.count)) else { return nil }
        defer { BIO_free(bio) }
        return read(bio)
    }
}

/// The bytes a writer put out, or `nil` when it returned 0.
func bytesWritten(_ write: (OpaquePointer) -> CInt) -> [UInt8]? {
    guard let bio = BIO_new(BIO_s_mem()) else { return nil }
    defer { BIO_free(bio) }
    guard write(bio) == 1 else { return nil }
    var data: UnsafePointer<UInt8>?
    let count = weft_bio_mem_data(bio, &data)
    return Array(UnsafeBufferPointer(start: data, count: count))
}
