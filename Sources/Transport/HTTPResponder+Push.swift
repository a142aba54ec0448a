package import NIOCore

/// What an answer that has begun is sent on, for one who sends to many answers of its own loop in one turn, without a task for each.
///
/// It is as near to the connection as can be: with a thousand answers, each object on the way is one that has left the caches.
package protocol PushTarget: AnyObject {
    /// What carries this answer, perhaps beside others.
    var carrier: ObjectIdentifier { get }
    /// Takes a piece, to be sent with `flush`.
    func push(_ bytes: [UInt8]) -> PushOutcome
    /// Sends what was pushed to all answers of the carrier.
    func flush()
}

package enum PushOutcome: Sendable {
    case taken
    /// Taken, but the client takes less than it is given: `drain` before there is more.
    case full
    /// There is nobody to send to.
    case gone
}

extension HTTPResponder {
    /// Where this answer is sent from.
    package var loop: any EventLoop { exchange.loop }

    /// Of a started answer, on its loop only; `nil` when there is nobody to send to.
    package var pushTarget: (any PushTarget)? { exchange.pushTarget }

    /// Waits while the client reads more slowly than we write.
    package func drain() async throws { try await exchange.drain() }

    /// From here on, a client that takes nothing for this long while something waits for it is given up with `ClientTooSlow`.
    package func limitStalls(to limit: TimeAmount) async {
        let exchange = exchange
        await exchange.onLoop { exchange.stallLimit = limit }
    }

    /// Starts a task that runs on the answer's loop.
    package func runOnLoop(_ body: @escaping @Sendable () async -> Void) {
        Task(executorPreference: LoopExecutor.of(exchange.loop)) { await body() }
    }
}
