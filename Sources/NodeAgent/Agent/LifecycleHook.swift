import Wire

/// What a container does right after its start or right before its stop.
struct LifecycleHook: Sendable {
    private let json: JSON
    private let container: ContainerDescription

    init(_ json: JSON, container: ContainerDescription) {
        self.json = json
        self.container = container
    }

    /// - Returns: what went wrong.
    func run(_ id: String, _ prober: Prober, within patience: Duration) async -> String? {
        if let seconds = json[path: ["sleep", "seconds"]]?.int {
            try? await Task.sleep(for: min(.seconds(seconds), patience))
            return nil
        }
        let handler = ProbeDescription.Handler(json, container: container.json)
        switch await prober.attempt(handler, container: id, within: patience) {
        case .success: return nil
        case .failure(let message), .unknown(let message): return message
        }
    }
}
