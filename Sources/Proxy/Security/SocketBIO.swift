import CKernel
import COpenSSL
import Glibc

/// OpenSSL's way to a connection's socket: one `recv` a wake-up, none to learn that nothing is left.
///
/// Safe to share: OpenSSL only reads a method table once it is made.
nonisolated(unsafe) let socketBIO: OpaquePointer = {
    guard let method = BIO_meth_new(weft_bio_type(), "weft socket") else { fatalError("no memory for a BIO method") }
    BIO_meth_set_read(method) { bio, into, count in
        guard let bio, let into, let data = BIO_get_data(bio) else { return -1 }
        let connection = data.assumingMemoryBound(to: Connection.self)
        weft_bio_clear_retry(bio)
        if connection.pointee.isDrained {
            weft_bio_retry_read(bio)
            return -1
        }
        let read = weft_tcp_receive(connection.pointee.fd, into, Int(count))
        if read < Int(count) && !connection.pointee.hangup { connection.pointee.isDrained = true }
        if read == 0 {
            connection.pointee.endOfInput = true
            return 0
        }
        if read < 0 {
            if read == -Int(EAGAIN) || read == -Int(EINTR) {
                connection.pointee.isDrained = true
                weft_bio_retry_read(bio)
            } else {
                connection.pointee.endOfInput = true
            }
            return -1
        }
        return CInt(truncatingIfNeeded: read)
    }
    BIO_meth_set_write(method) { bio, from, count in
        guard let bio, let from, let data = BIO_get_data(bio) else { return -1 }
        let connection = data.assumingMemoryBound(to: Connection.self)
        weft_bio_clear_retry(bio)
        let written = weft_tcp_send(connection.pointee.fd, from, Int(count))
        if written < 0 {
            if written == -Int(EAGAIN) || written == -Int(EINTR) { weft_bio_retry_write(bio) }
            return -1
        }
        return CInt(truncatingIfNeeded: written)
    }
    BIO_meth_set_ctrl(method) { _, command, _, _ in command == CInt(WEFT_BIO_CTRL_FLUSH) ? 1 : 0 }
    return method
}()
