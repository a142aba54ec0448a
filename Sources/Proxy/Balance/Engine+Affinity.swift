import Glibc
import Wire

extension Engine {
    /// Works out a routed request's affinity from its head.
    mutating func noteAffinity(_ client: Conn, _ bytes: UnsafePointer<UInt8>) {}

    /// An opaque connection has nothing but its source.
    func tunnelAffinity(_ client: Conn, _ backend: Int32) -> Affinity { Affinity() }

    /// Bytes `putAffinity` may need.
    @inline(__always) func affinityRoom(_ client: Conn) -> Int { 0 }

    /// Tells the client which endpoint its session has.
    func putAffinity(_ client: Conn, _ out: Bytes, _ at: inout Int) {}
}
