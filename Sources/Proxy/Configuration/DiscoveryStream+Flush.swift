import CKernel
import Glibc
import Kernel

extension DiscoveryStream {
    /// Writes what is to be sent; tells why it could not.
    mutating func flush(to connection: borrowing OwnedDescriptor) -> String? {
        let (bytes, descriptor) = (takeOutput(), connection.number)
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { space in
                weft_tcp_send(descriptor, space.baseAddress?.advanced(by: done), bytes.count - done)
            }
            if count < 0 { return "write: \(String(cString: strerror(Int32(-count))))" }
            done += count
        }
        return nil
    }
}
