import KubeTypes
import Wire

/// How much a pod may do, by the Pod Security Standards.
package enum PodSecurityLevel: String, Sendable, Comparable {
    case privileged, baseline, restricted

    private var rank: Int {
        switch self {
        case .privileged: 0
        case .baseline: 1
        case .restricted: 2
        }
    }
    package static func < (one: Self, other: Self) -> Bool { one.rank < other.rank }
}

/// A level as it was in one version of Kubernetes.
package struct PodSecurityPolicy: Sendable, Hashable, CustomStringConvertible {
    package var level: PodSecurityLevel
    /// The minor version; `nil` for the latest.
    package var minor: Int?

    package init(_ level: PodSecurityLevel, minor: Int? = nil) {
        self.level = level
        self.minor = minor
    }

    package var description: String { "\(level.rawValue):\(minor.map { "v1.\($0)" } ?? "latest")" }

    /// Whether a check that came with a minor version counts.
    func has(_ since: Int) -> Bool { minor.map { $0 >= since } ?? true }

    /// From `v1.29` or `latest`; `nil` when it is neither.
    static func version(_ text: String) -> Int?? {
        if text == "latest" { return .some(nil) }
        guard text.hasPrefix("v1."), let minor = Int(text.dropFirst(3)), minor >= 0,
            text == "v1.\(minor)"
        else { return nil }
        return .some(minor)
    }

    /// Whether this is stricter than another, so far as levels can be compared.
    func isStricter(than other: PodSecurityPolicy) -> Bool {
        if level != other.level { return level > other.level }
        if level == .privileged { return false }
        return minor ?? .max > other.minor ?? .max
    }
}

/// What the labels of a namespace ask of its pods.
struct PodSecurityLabels: Sendable, Hashable {
    static let prefix = "pod-security.kubernetes.io/"
    private static let levelNames = ["privileged", "baseline", "restricted"]

    var enforce: PodSecurityPolicy
    var audit: PodSecurityPolicy
    var warn: PodSecurityPolicy
    /// Labels that say nothing sensible; such a mode is as strict as can be.
    var faults: [FieldFault] = []

    init(_ namespace: KubeObject, _ defaults: PodSecurityConfiguration) {
        enforce = defaults.enforce
        audit = defaults.audit
        warn = defaults.warn
        guard let labels = namespace.json["metadata"]?["labels"],
            labels.object?.contains(where: { $0.key.hasPrefix(Self.prefix) }) == true
        else { return }
        enforce = read("enforce", labels, enforce, onFault: .restricted)
        audit = read("audit", labels, audit, onFault: .privileged)
        warn = read("warn", labels, warn, onFault: .privileged)
    }

    private mutating func read(
        _ mode: String, _ labels: JSON, _ standard: PodSecurityPolicy, onFault: PodSecurityLevel
    ) -> PodSecurityPolicy {
        var policy = standard
        if let text = labels[Self.prefix + mode]?.string {
            if let level = PodSecurityLevel(rawValue: text) {
                policy.level = level
            } else {
                policy.level = onFault
                let names = Self.levelNames.joined(separator: ", ")
                faults.append(
                    FieldFault(
                        .invalid, "metadata.labels[\(Self.prefix)\(mode)]", value: .string(text),
                        "must be one of \(names)"))
            }
        }
        let key = "\(Self.prefix)\(mode)-version"
        if let text = labels[key]?.string {
            if let minor = PodSecurityPolicy.version(text) {
                policy.minor = minor
            } else {
                faults.append(
                    FieldFault(
                        .invalid, "metadata.labels[\(key)]", value: .string(text),
                        "must be \"latest\" or \"v1.x\""))
            }
        }
        return policy
    }

    var asksNothing: Bool {
        enforce.level == .privileged && audit.level == .privileged && warn.level == .privileged
    }
}

/// What a server asks of pods where labels do not say, and whom it does not ask.
package struct PodSecurityConfiguration: Sendable {
    package var enforce = PodSecurityPolicy(.privileged)
    package var audit = PodSecurityPolicy(.privileged)
    package var warn = PodSecurityPolicy(.privileged)
    package var exemptUsers: Set<String> = []
    package var exemptNamespaces: Set<String> = []
    package var exemptRuntimeClasses: Set<String> = []

    package init() {}
}
