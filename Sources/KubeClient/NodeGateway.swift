package import KubeTypes

/// How the API server reaches the node a pod runs on, for what cannot go through the store.
package protocol NodeGateway: Sendable {
    /// The bytes of a container's log, as they are (and, with `follow`, as they come).
    func logs(pod: KubeObject, container: String, _ options: LogOptions) async throws(APIFailure)
        -> AsyncThrowingStream<[UInt8], any Error>
    /// Starts a command in a running container.
    func exec(pod: KubeObject, container: String, _ request: ExecRequest) async throws(APIFailure) -> any ExecSession
    /// Joins the streams of a running container's own process, from now on.
    func attach(pod: KubeObject, container: String, _ streams: AttachStreams) async throws(APIFailure)
        -> any ExecSession
    /// A TCP connection from inside the pod to a port of its own.
    func connect(pod: KubeObject, port: Int) async throws(APIFailure) -> any PodConnection
    /// What the pods of a node use.
    func usage(ofNode name: String) async throws(APIFailure) -> NodeUsage
    /// What a node's agent says of itself: its pods, health, figures, logs.
    func answer(ofNode name: String, _ request: NodeRequest) async throws(APIFailure) -> NodeAnswer
}

/// A request to a node's agent.
package struct NodeRequest: Sendable {
    /// Without the query, percent signs still in it; begins with a slash.
    package var path: String
    package var query: [(name: String, value: String)]
    package init(path: String, query: [(name: String, value: String)] = []) {
        self.path = path
        self.query = query
    }
}

package struct NodeAnswer: Sendable {
    package var status: Int
    package var contentType: String
    package var body: AsyncThrowingStream<[UInt8], any Error>

    package init(status: Int = 200, contentType: String, body: AsyncThrowingStream<[UInt8], any Error>) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    package init(status: Int = 200, contentType: String = "text/plain; charset=utf-8", _ text: String) {
        self.init(status: status, contentType: contentType, bytes: Array(text.utf8))
    }

    package init(status: Int = 200, contentType: String, bytes: [UInt8]) {
        let (stream, sink) = AsyncThrowingStream<[UInt8], any Error>.makeStream()
        sink.yield(bytes)
        sink.finish()
        self.init(status: status, contentType: contentType, body: stream)
    }
}

/// Processor time and memory in use on one node.
package struct NodeUsage: Sendable {
    package struct Amount: Sendable {
        package var nanocores: UInt64 = 0
        /// Without the file cache the kernel would give back at once.
        package var workingSetBytes: UInt64 = 0
        package init(nanocores: UInt64 = 0, workingSetBytes: UInt64 = 0) {
            self.nanocores = nanocores
            self.workingSetBytes = workingSetBytes
        }
    }
    package struct Pod: Sendable {
        package var key: ObjectKey
        package var whole: Amount
        package var containers: [(name: String, amount: Amount)]
        package init(key: ObjectKey, whole: Amount, containers: [(name: String, amount: Amount)]) {
            self.key = key
            self.whole = whole
            self.containers = containers
        }
    }
    package var time: Timestamp
    /// What processor time is the mean of.
    package var window: Duration
    package var pods: [Pod]
    package init(time: Timestamp, window: Duration, pods: [Pod]) {
        self.time = time
        self.window = window
        self.pods = pods
    }
}

/// Which streams of a container are wanted.
package struct AttachStreams: Sendable {
    package var stdin = false
    package var stdout = true
    package var stderr = true
    package var tty = false
    package init() {}
}

package protocol PodConnection: Sendable {
    /// `nil` when the pod sends no more.
    func read() async throws -> [UInt8]?
    func write(_ bytes: [UInt8]) async throws
    /// Says that no more comes.
    func finishWriting() async
    func close() async
}

package struct LogOptions: Sendable {
    package var follow = false
    package var previous = false
    package var timestamps = false
    package var tailLines: Int?
    package var sinceSeconds: Int?
    package var sinceTime: String?  // RFC 3339
    package var limitBytes: Int?
    package var stream = LogStream.all
    package init() {}
}

/// What a container writes to, by the API's names.
package enum LogStream: String, Sendable { case all = "All", stdout = "Stdout", stderr = "Stderr" }

package struct ExecRequest: Sendable {
    package var command: [String]
    package var stdin = false
    package var stdout = true
    package var stderr = true
    package var tty = false
    package init(command: [String]) { self.command = command }
}

/// A running command with its streams.
package protocol ExecSession: Sendable {
    var output: AsyncThrowingStream<ExecOutput, any Error> { get }
    func write(_ bytes: [UInt8]) async throws
    func closeInput() async
    func resize(width: Int, height: Int) async
    /// Ends the command if it still runs.
    func cancel() async
}

package enum ExecOutput: Sendable, Hashable {
    case stdout([UInt8])
    case stderr([UInt8])
    /// The last element: the command's exit code, 128 + signal if a signal ended it.
    case exited(Int)
}
