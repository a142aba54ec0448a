import Glibc

/// How far a request has come before it is sent. One that has to wait keeps its head in `input`, and starts again at its stage.
enum Stage: UInt8 { case head, authorize, route, admit, send }

/// What a stage says of the request.
enum Step {
    case go
    /// It has been answered, or its connection is gone.
    case over
    /// It is parked: `unpark` or `parkingEnded` goes on.
    case wait
}

/// What a parked request waits for.
enum Parking: UInt8 {
    case none
    /// A time to pass; then it goes on.
    case delay
    /// A place among the requests or connections that a limit admits.
    case slot
    /// The time before the next try; the request is in `replay`, no longer in `input`.
    case retry
    /// What a service says that decides on requests.
    case authorization
    /// As much of its body as such a service is shown.
    case body
    /// What the control plane knows of its destination.
    case destination
}

extension Engine {
    /// Lets the request wait for at most `delay` nanoseconds. Its head stays in `input`; nothing of it has been sent.
    mutating func park(_ client: Conn, for parking: Parking, atMost delay: UInt64) -> Step {
        client.pointee.parking = parking
        setDeadline(client, after: delay)
        return .wait
    }

    /// What a parked request waited for is there: it goes on at its stage.
    mutating func unpark(_ client: Conn) {
        if client.pointee.parking == .none { return }
        client.pointee.parking = .none
        client.pointee.deadline = .max
        let generation = client.pointee.generation
        if client.pointee.hasEffort && efforts[Int(client.pointee.index)].isRepeating {
            sendAgain(client)
        } else {
            request(client)
        }
        // Its input may have filled up meanwhile.
        let isSent = client.pointee.generation == generation && client.pointee.peer != nil
        if isSent && client.pointee.isPaused { queue(client) }
        // A stream gives back the window of what has been taken at its own turn.
        if client.pointee.generation == generation && client.pointee.fd < 0 { queue(client) }
    }

    /// A parked request has waited for as long as it may.
    mutating func parkingEnded(_ client: Conn) {
        switch client.pointee.parking {
        case .none, .delay: unpark(client)
        case .slot: slotWaitEnded(client)
        case .retry:
            sendAgain(client)
            if client.pointee.role == .client && client.pointee.fd < 0 { queue(client) }
        case .authorization: authorizationFailed(client, .timedOut)
        case .body: bodyWaitEnded(client)
        case .destination: destinationTimedOut(client)
        }
    }
}
