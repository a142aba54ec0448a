package import NIOCore

/// Sending without a task: for one that writes to many answers of its own loop in one turn.
extension HTTPResponder {
    package enum PushOutcome: Sendable {
        case taken
        /// Taken, but the client takes less than it is given: `drain` before there is more.
        case full
        /// There is nobody to send to.
        case gone
    }

    /// Where this answer is sent from.
    package var loop: any EventLoop { exchange.loop }

    /// What carries this answer, perhaps beside others.
    package var connection: ObjectIdentifier { exchange.connection }

    /// Takes a piece of a started answer, to be sent with `flush`. On its loop only.
    package func push(_ bytes: [UInt8]) -> PushOutcome { exchange.push(bytes) }

    /// Sends what was pushed to all answers of this connection.
    package func flush() { exchange.flush() }

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
