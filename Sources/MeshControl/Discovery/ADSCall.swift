import NIOCore
import Transport

/// An ADS call: `DeltaStream` at work for one proxy.
final class ADSCall: ProxyCall {
    static let path = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"

    /// A proxy asks for fewer.
    private static let mostDemands = 32768

    let mostBytes = 4 << 20
    private let discovery: Discovery
    private let podUID: String
    private var session: Int?
    private var state = DeltaStream()
    private weak var stream: ProxyCallStream?

    init(_ discovery: Discovery, podUID: String) {
        self.discovery = discovery
        self.podUID = podUID
    }

    func begin(on stream: ProxyCallStream, _ loop: any EventLoop) throws(GRPCFrames.Fault) {
        self.stream = stream
        session = discovery.join(podUID: podUID, self, loop)
        if session == nil {
            throw GRPCFrames.Fault(
                status: .resourceExhausted, message: "too many streams of this pod, or the pod is gone")
        }
    }

    func receive(_ message: [UInt8]) throws(GRPCFrames.Fault) {
        let request: DeltaRequest
        do { request = try DeltaRequest(protobuf: message) } catch {
            throw GRPCFrames.Fault(status: .invalidArgument, message: "DeltaDiscoveryRequest: \(error)")
        }
        send(state.receive(request))
        if state.demands?.count ?? 0 > Self.mostDemands {
            throw GRPCFrames.Fault(
                status: .resourceExhausted, message: "more than \(Self.mostDemands) destinations are asked for")
        }
        if state.needsSnapshot { refresh() }
    }

    func leave() {
        if let session { discovery.leave(session) }
        session = nil
    }

    /// There is something new for the proxy, or it has asked for something; called on the event loop.
    func refresh() {
        guard session != nil, let snapshot = discovery.snapshot(podUID: podUID, demands: state.demands) else { return }
        send(state.update(snapshot))
    }

    /// The pod is gone; called on the event loop.
    func disconnect() { stream?.disconnect() }

    private func send(_ responses: [DeltaResponse]) {
        guard let session else { return }
        stream?.send(responses.map(\.protobuf))
        discovery.note(session, state, sent: responses)
    }
}
