import CKernel
import Glibc
import Loop

/// Why a destination is not known to be one of the mesh's or none.
enum Unresolved: UInt8 {
    case none
    /// There is nobody to ask.
    case lost
    /// There is, but it has not answered.
    case unanswered
    /// Too many wait, or are held.
    case full

    var reason: StaticString {
        switch self {
        case .none: "no_route"
        case .lost: "control_plane_lost"
        case .unanswered: "destination_timeout"
        case .full: "too_many_destinations"
        }
    }
}

/// A proxy that holds what it uses asks for a destination when the first connection to it comes. The connection waits unread, so that it
/// costs nothing but its place.
extension Engine {
    /// Connections and requests of one loop that wait.
    static let mostAsking = 8192

    /// Whether a connection can go on: its destination is in the table, or known not to be the mesh's. Otherwise it waits.
    mutating func meetsDestination(_ client: Conn, _ arrays: TableView) -> Bool {
        if client.pointee.destination >= 0 || client.pointee.unresolved != .none { return true }
        let (address, port) = (client.pointee.originalAddress, client.pointee.originalPort)
        let place = arrays.pointee.demand.known.find(address, port)
        if place >= 0 {
            use(client, place)
            return true
        }
        // Another destination has brought it, and may take it away again: it is asked for all the same.
        let isThere = arrays.pointee.byAddress.find(address, port) >= 0 || arrays.pointee.byPod.find(address, port) >= 0
        if !isThere && !arrays.pointee.demand.covers(address) { return true }
        let answer = commons.demand.want(Self.demandKey(address, port), now: now)
        if isThere || answer == .absent { return true }
        client.pointee.mode = .asking
        client.pointee.isPaused = true
        guard answer != .full, asking.count < Self.mostAsking else {
            refuseDestination(client, .full)
            return false
        }
        asking.append(key(client))
        setDeadline(client, after: Self.patience(answer))
        return false
    }

    /// The request's destination is in no table: it has to be asked for, or the answer is that it is not there.
    mutating func askDestination(_ client: Conn) -> Step {
        let why = client.pointee.unresolved
        if why != .none {
            // The next request asks again.
            client.pointee.unresolved = .none
            client.pointee.carrier?.pointee.unresolved = .none
            return refuseUnresolved(client, why)
        }
        let key = Self.demandKey(client.pointee.originalAddress, client.pointee.originalPort)
        let answer = commons.demand.want(key, now: now)
        if answer == .absent {
            skipHead(client)
            answer503(client, .noRoute, ResponseFlag.noRoute.reason)
            return .over
        }
        if answer == .full || asking.count >= Self.mostAsking { return refuseUnresolved(client, .full) }
        asking.append(self.key(client))
        return park(client, for: .destination, atMost: Self.patience(answer))
    }

    private mutating func refuseUnresolved(_ client: Conn, _ why: Unresolved) -> Step {
        skipHead(client)
        answer503(client, .unresolved, why.reason)
        return .over
    }

    private mutating func answer503(_ client: Conn, _ flag: ResponseFlag, _ reason: StaticString) {
        answer(client, status: 503, flag, reason, close: false)
    }

    /// The control plane has answered: who waited for that goes on.
    mutating func destinationsAnswered() {
        if asking.isEmpty { return }
        let waiting = asking
        asking.removeAll(keepingCapacity: true)
        for key in waiting {
            guard let client = find(key), client.pointee.role == .client else { continue }
            let isRequest = client.pointee.parking == .destination
            if !isRequest && client.pointee.mode != .asking { continue }
            if !isDestinationKnown(client) {
                asking.append(key)
            } else if isRequest {
                renewTable(client)
                adoptDestination(client)
                unpark(client)
            } else {
                leaveAsking(client)
            }
        }
    }

    private mutating func isDestinationKnown(_ client: Conn) -> Bool {
        guard let arrays = table?.pointee.arrays else { return false }
        let (address, port) = (client.pointee.originalAddress, client.pointee.originalPort)
        if !arrays.pointee.demand.isOn { return true }
        if arrays.pointee.demand.known.find(address, port) >= 0 { return true }
        if arrays.pointee.byAddress.find(address, port) >= 0 || arrays.pointee.byPod.find(address, port) >= 0 {
            return true
        }
        return commons.demand.want(Self.demandKey(address, port), now: now) == .absent
    }

    /// Nobody has answered in time.
    mutating func destinationTimedOut(_ client: Conn) {
        let why: Unresolved = commons.demand.isLost ? .lost : .unanswered
        if client.pointee.parking == .destination {
            client.pointee.unresolved = why
            unpark(client)
        } else {
            refuseDestination(client, why)
        }
    }

    /// What the connection carries decides how it is told: a request gets an answer, all else an end.
    private mutating func refuseDestination(_ client: Conn, _ why: Unresolved) {
        client.pointee.unresolved = why
        client.pointee.isPaused = false
        client.pointee.mode = .detecting
        setDeadline(client, after: Limits.detect)
        queue(client)
    }

    private mutating func leaveAsking(_ client: Conn) {
        client.pointee.isPaused = false
        beginOutbound(client)
        // Its bytes have waited in the socket.
        if client.pointee.role == .client && client.pointee.mode != .asking { queue(client) }
    }

    /// A request that waited is routed by what is known now.
    private mutating func renewTable(_ client: Conn) {
        guard let table, let old = client.pointee.table, old != table else { return }
        client.pointee.table = table
        table.pointee.users += 1
        leave(old)
    }

    /// The connection of a request that had to ask counts from now on.
    private mutating func adoptDestination(_ client: Conn) {
        let connection = client.pointee.carrier ?? client
        guard connection.pointee.destination < 0, let arrays = table?.pointee.arrays else { return }
        let place = arrays.pointee.demand.known.find(
            connection.pointee.originalAddress, connection.pointee.originalPort)
        if place >= 0 { use(connection, place) }
    }

    private func use(_ connection: Conn, _ place: Int32) {
        connection.pointee.destination = Int16(truncatingIfNeeded: place)
        commons.demand.uses.enter(connection.pointee.destination, now: now)
    }

    /// The connection ends.
    func leaveDestination(_ connection: Conn) {
        commons.demand.uses.leave(connection.pointee.destination, now: now)
        connection.pointee.destination = -1
    }

    private static func demandKey(_ address: UInt32, _ port: UInt16) -> String { "\(IPv4(address)):\(port)" }

    /// One that is present has been given to this loop, which has not looked yet.
    private static func patience(_ answer: DemandDesk.Answer) -> UInt64 {
        if case .wait(let time) = answer { return time }
        return DemandDesk.patience
    }
}
