import KubeTypes
import NIOCore
import ProxyResources
import Transport

/// A call on which a proxy leases tokens: reports in, grants out.
final class QuotaCall: ProxyCall {
    let mostBytes = 1 << 20
    private let desk: QuotaDesk
    private let podUID: String
    private let pod: ObjectKey
    private var session: Int?
    private weak var stream: ProxyCallStream?

    init(_ desk: QuotaDesk, podUID: String, pod: ObjectKey) {
        self.desk = desk
        self.podUID = podUID
        self.pod = pod
    }

    func begin(on stream: ProxyCallStream, _ loop: any EventLoop) throws(GRPCFrames.Fault) {
        self.stream = stream
        session = desk.join(podUID: podUID, pod: pod, self, loop)
        if session == nil {
            throw GRPCFrames.Fault(
                status: .unavailable, message: "the mesh does not know the pod yet, or it has too many streams")
        }
    }

    func receive(_ message: [UInt8]) throws(GRPCFrames.Fault) {
        guard let session else { return }
        let report: QuotaReport
        do { report = try QuotaReport(message) } catch {
            throw GRPCFrames.Fault(status: .invalidArgument, message: "QuotaReport: \(error)")
        }
        if report.pages.reduce(0, { $0 + $1.lines.count }) > QuotaReport.mostLines {
            throw GRPCFrames.Fault(
                status: .resourceExhausted, message: "more than \(QuotaReport.mostLines) lines in a report")
        }
        desk.receive(report, from: session)
    }

    func leave() {
        if let session { desk.leave(session) }
        session = nil
    }

    /// Called on the event loop.
    func send(_ grants: QuotaGrants) {
        guard let stream, session != nil else { return }
        // A proxy that does not read is one that has lost its lease.
        if stream.isWritable { stream.send([grants.bytes]) } else { stream.disconnect() }
    }

    /// Called on the event loop.
    func disconnect() { stream?.disconnect() }
}
