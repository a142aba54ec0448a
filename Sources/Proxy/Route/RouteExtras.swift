import Glibc
import Loop
import Wire

/// What few requests need while they are in flight; stands at the start of a buffer of the pool, with its texts behind it.
struct RouteExtras {
    /// Lines the response gets, for CORS and of rate limits.
    var linesLength: Int32 = 0
    var hasOrigin = false
    /// Where those of the limit begin of which least is left; -1 when there are none.
    var limitStart: Int32 = -1
    var limitRemaining: UInt64 = 0
    /// Lines an authorizer gives the response; see `dropGrantedResponse`.
    var grantedLength: Int32 = 0
    /// The path as an expression rewrote it.
    var pathLength: Int32 = -1
    /// The request as sent so far, for mirrors; a buffer of its own.
    var copy: Bytes? = nil
    var copyEnd: Int32 = 0
    var copyClass: UInt8 = 0
    /// Which of the rule's mirrors get it, by bits.
    var mirrors: UInt32 = 0

    static let sizeClass: UInt8 = 1
    static let linesOffset = 128
    static let linesSize = 3968
    static let pathOffset = linesOffset + linesSize
    /// As much as a target may have.
    static let pathSize = 8192
    static let grantedOffset = pathOffset + pathSize
}

typealias Extras = UnsafeMutablePointer<RouteExtras>

extension UnsafeMutablePointer<RouteExtras> {
    var lines: Bytes { Bytes(OpaquePointer(self)) + RouteExtras.linesOffset }
    var path: Bytes { Bytes(OpaquePointer(self)) + RouteExtras.pathOffset }
    var granted: Bytes { Bytes(OpaquePointer(self)) + RouteExtras.grantedOffset }
}

extension Engine {
    /// The request's extras, made when it has none.
    mutating func extras(_ client: Conn) -> Extras {
        if let known = client.pointee.extras { return known }
        let memory = UnsafeMutableRawPointer(buffers.take(RouteExtras.sizeClass))
        let made = memory.bindMemory(to: RouteExtras.self, capacity: 1)
        made.initialize(to: RouteExtras())
        client.pointee.extras = made
        return made
    }

    mutating func dropExtras(_ client: Conn) {
        guard let extras = client.pointee.extras else { return }
        dropCopy(extras)
        client.pointee.extras = nil
        buffers.give(Bytes(OpaquePointer(extras)), RouteExtras.sizeClass)
    }

    mutating func dropCopy(_ extras: Extras) {
        if let copy = extras.pointee.copy { buffers.give(copy, extras.pointee.copyClass) }
        extras.pointee.copy = nil
    }
}
