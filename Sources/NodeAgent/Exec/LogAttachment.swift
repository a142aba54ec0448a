import KubeClient

/// What a container writes from now on, until it ends: read from its log, which has every byte of it.
final class LogAttachment: ExecSession {
    let output: AsyncThrowingStream<ExecOutput, any Error>
    private let work: Task<Void, Never>

    /// - Parameters: readers that follow, of one stream each; `nil` for one that is not wanted.
    init(stdout: LogReader?, stderr: LogReader?) {
        let (output, sink) = AsyncThrowingStream<ExecOutput, any Error>.makeStream()
        self.output = output
        work = Task {
            await withTaskGroup(of: Void.self) { group in
                group.addTask {
                    while let bytes = await stdout?.next() { sink.yield(.stdout(bytes)) }
                }
                group.addTask {
                    while let bytes = await stderr?.next() { sink.yield(.stderr(bytes)) }
                }
            }
            sink.yield(.exited(0))
            sink.finish()
        }
    }

    func write(_ bytes: [UInt8]) async throws {}
    func closeInput() async {}
    func resize(width: Int, height: Int) async {}
    func cancel() async { work.cancel() }

    deinit { work.cancel() }
}
