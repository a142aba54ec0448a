package import NIOCore

/// Sending without a task: for one that writes to many answers of its own loop in one turn.
extension HTTPResponder {
    package enum PushOutcome: Sendable {
        case taken
        /// Sent, but the client takes less than it is given: `drain` before there is more.
        case full
        /// There is nobody to send to.
        case gone
    }

    /// Where this answer is sent from.
    package var loop: any EventLoop { exchange.loop }

    /// Sends a piece of a started answer. On its loop only.
    package func push(_ bytes: [UInt8]) -> PushOutcome { exchange.push(bytes) }

    /// Waits while the client reads more slowly than we write.
    package func drain() async throws { try await exchange.drain() }

    /// Starts a task that runs on the answer's loop.
    package func runOnLoop(_ body: @escaping @Sendable () async -> Void) {
        Task(executorPreference: LoopExecutor.of(exchange.loop)) { await body() }
    }
}
