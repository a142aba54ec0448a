import Glibc
import ProxyResources
import Wire

extension Engine {
    /// Brings the path of the request whose head was just parsed at `bytes` into its normal form, in place, so that policies,
    /// routes and the workload read the same.
    ///
    /// - Returns: true when the request goes on elsewhere: it is read again, or was answered.
    mutating func normalizePath(_ client: Conn, _ bytes: UnsafePointer<UInt8>) -> Bool {
        guard let access = table?.pointee.arrays.pointee.access, access.pointee.normalization != .none,
            !parser.head.isConnect
        else { return false }
        let start = parser.head.pathOffset
        var count = parser.head.pathLength
        if let query = memchr(bytes + start, 63, count) {
            count = UnsafeRawPointer(bytes + start).distance(to: UnsafeRawPointer(query))
        }
        let path = UnsafeMutablePointer(mutating: bytes + start)
        switch normalize(path: path, count, access.pointee.normalization) {
        case .same: return false
        case .refused:
            answer(client, status: 400, .badPath, ResponseFlag.badPath.reason, close: true)
            return true
        case .changed(let length):
            // What stands before the path's end moves up to what follows it.
            let gap = count - length
            memmove(UnsafeMutablePointer(mutating: bytes) + gap, bytes, start + length)
            client.pointee.inputStart &+= Int32(gap)
            request(client)
            return true
        }
    }
}
