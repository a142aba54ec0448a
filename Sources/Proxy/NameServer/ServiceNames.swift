import Loop
import ProxyResources
import Wire

/// The names this proxy knows by itself, so that they resolve while the control plane is away.
struct ServiceNames {
    static let timeToLive: UInt32 = 5
    private var addresses: [DNSName: [UInt32]] = [:]

    init() {}

    /// Headless services are left to the upstream: their addresses are the pods', which change too fast to keep here.
    init(_ ports: some Collection<ServicePort>) {
        for port in ports {
            let found = port.addresses.compactMap { IPv4($0)?.value }
            if found.isEmpty { continue }
            for host in port.hosts {
                guard let name = DNSName(host)?.folded, name.labels.count > 1, !host.hasPrefix("*") else { continue }
                for address in found where addresses[name]?.contains(address) != true {
                    addresses[name, default: []].append(address)
                }
            }
        }
    }

    /// The answer, or nil when the name is not ours.
    func answer(_ query: DNSMessage) -> DNSMessage? {
        guard query.opcode == 0, query.questions.count == 1 else { return nil }
        let question = query.questions[0]
        guard question.questionClass == 1, let found = addresses[question.name.folded] else { return nil }
        var response = query.response()
        response.offersRecursion = true
        // Other types of a name we know: no data, without asking further.
        if question.type == .a || question.type == .any {
            response.answers = found.map { DNSRecord(question.name, ttl: Self.timeToLive, .a($0)) }
        }
        return response
    }
}
