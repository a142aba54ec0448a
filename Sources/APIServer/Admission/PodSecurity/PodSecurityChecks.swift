import KubeTypes
import Wire

/// What a pod has that a level forbids.
struct PodSecurityViolation: Sendable, Hashable, CustomStringConvertible {
    let reason: String
    let detail: String
    var description: String { detail.isEmpty ? reason : "\(reason) (\(detail))" }
}

/// The checks of the Pod Security Standards: pure, from a pod's metadata and spec.
struct PodSecurityChecks {
    typealias Check = (PodSecurityChecks) -> PodSecurityViolation?

    let policy: PodSecurityPolicy
    let annotations: [String: String]
    let spec: JSON
    /// All that run, also those that only start the pod or were added to look at it.
    let containers: [JSON]
    let podContext: JSON

    init(_ policy: PodSecurityPolicy, annotations: [String: String], spec: JSON) {
        self.policy = policy
        self.annotations = annotations
        self.spec = spec
        podContext = spec["securityContext"] ?? [:]
        containers = ["initContainers", "containers", "ephemeralContainers"].flatMap { spec[$0]?.array ?? [] }
    }

    /// In the order they are told: those of the baseline by name, then those of restricted.
    func violations() -> [PodSecurityViolation] {
        if policy.level == .privileged { return [] }
        let isRestricted = policy.level == .restricted
        var checks: [Check] = [{ $0.appArmor() }]
        if !(isRestricted && policy.has(22)) { checks.append { $0.capabilities() } }
        checks.append { $0.hostNamespaces() }
        if !isRestricted { checks.append { $0.hostPathVolumes() } }
        checks.append { $0.hostPorts() }
        if policy.has(34) { checks.append { $0.probeHosts() } }
        checks.append { $0.privileged() }
        if !(isRestricted && policy.has(35)) { checks.append { $0.procMount() } }
        checks.append { $0.seLinux() }
        if !(isRestricted && policy.has(19)) { checks.append { $0.seccomp() } }
        checks += [{ $0.sysctls() }, { $0.windowsHostProcess() }]
        if isRestricted { checks += restrictedChecks }
        return checks.compactMap { $0(self) }
    }

    // MARK: Words

    static func quoted(_ names: some Sequence<String>) -> String {
        names.map { "\"\($0)\"" }.joined(separator: ", ")
    }

    static func plural(_ one: String, _ many: String, _ count: Int) -> String { count == 1 ? one : many }

    /// `container "a"`, `containers "a", "b"`
    static func named(_ names: [String]) -> String {
        "\(plural("container", "containers", names.count)) \(quoted(names))"
    }

    static func name(_ container: JSON) -> String { container["name"]?.string ?? "" }

    func names(_ isBad: (JSON) -> Bool) -> [String] { containers.filter(isBad).map(Self.name) }

    func context(_ container: JSON) -> JSON { container["securityContext"] ?? [:] }

    var isWindows: Bool { spec["os"]?["name"] == "windows" }
    /// Root in such a pod is nobody outside it.
    var hasOwnUsers: Bool { spec["hostUsers"] == false }

    /// `pod and containers "a" …`, from who set something.
    static func setters(_ isPod: Bool, _ names: [String]) -> String {
        (isPod ? ["pod"] : []).appending(names.isEmpty ? [] : [named(names)]).joined(separator: " and ")
    }
}

extension Array {
    fileprivate func appending(_ more: [Element]) -> [Element] { self + more }
}

// MARK: Baseline

extension PodSecurityChecks {
    private func appArmor() -> PodSecurityViolation? {
        func isBad(_ context: JSON) -> String? {
            guard let type = context["appArmorProfile"]?["type"]?.string else { return nil }
            return type == "RuntimeDefault" || type == "Localhost" ? nil : type
        }
        var values: Set<String> = []
        let isPod = isBad(podContext) != nil
        if let value = isBad(podContext) { values.insert(value) }
        let bad = names { isBad(context($0)) != nil }
        for container in containers { if let value = isBad(context(container)) { values.insert(value) } }
        let prefix = "container.apparmor.security.beta.kubernetes.io/"
        let noted = annotations.filter { key, value in
            key.hasPrefix(prefix) && !value.isEmpty && value != "runtime/default" && !value.hasPrefix("localhost/")
        }.map { "\($0.key)=\"\($0.value)\"" }.sorted()
        if !isPod, bad.isEmpty, noted.isEmpty { return nil }
        var who = isPod || !bad.isEmpty ? [Self.setters(isPod, bad)] : []
        if !noted.isEmpty { who.append(Self.plural("annotation", "annotations", noted.count)) }
        let all = values.sorted() + noted
        return PodSecurityViolation(
            reason: Self.plural("forbidden AppArmor profile", "forbidden AppArmor profiles", all.count),
            detail: "\(who.joined(separator: " and ")) must not set AppArmor profile type to \(Self.quoted(all))")
    }

    private static let plainCapabilities: Set<String> = [
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "SETFCAP",
        "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    ]

    func added(_ container: JSON) -> [String] {
        context(container)["capabilities"]?["add"]?.array?.compactMap(\.string) ?? []
    }

    private func capabilities() -> PodSecurityViolation? {
        let bad = names { !Self.plainCapabilities.isSuperset(of: added($0)) }
        if bad.isEmpty { return nil }
        let what = Set(containers.flatMap(added)).subtracting(Self.plainCapabilities).sorted()
        return PodSecurityViolation(
            reason: "non-default capabilities",
            detail: "\(Self.named(bad)) must not include \(Self.quoted(what)) in securityContext.capabilities.add")
    }

    private func hostNamespaces() -> PodSecurityViolation? {
        let set = ["hostNetwork", "hostPID", "hostIPC"].filter { spec[$0] == true }.map { "\($0)=true" }
        return set.isEmpty
            ? nil : PodSecurityViolation(reason: "host namespaces", detail: set.joined(separator: ", "))
    }

    private func hostPathVolumes() -> PodSecurityViolation? {
        let bad = (spec["volumes"]?.array ?? []).filter { $0["hostPath"] != nil }.map(Self.name)
        if bad.isEmpty { return nil }
        return PodSecurityViolation(
            reason: "hostPath volumes", detail: "\(Self.plural("volume", "volumes", bad.count)) \(Self.quoted(bad))")
    }

    private func hostPorts() -> PodSecurityViolation? {
        func ports(_ container: JSON) -> [String] {
            (container["ports"]?.array ?? []).compactMap { $0["hostPort"]?.int }.filter { $0 != 0 }.map(String.init)
        }
        let bad = names { !ports($0).isEmpty }
        if bad.isEmpty { return nil }
        let all = Set(containers.flatMap(ports)).sorted()
        let uses = Self.plural("uses", "use", bad.count)
        let what = Self.plural("hostPort", "hostPorts", all.count)
        return PodSecurityViolation(
            reason: "hostPort", detail: "\(Self.named(bad)) \(uses) \(what) \(all.joined(separator: ", "))")
    }

    private func probeHosts() -> PodSecurityViolation? {
        func hosts(_ container: JSON) -> [String] {
            let handlers =
                ["livenessProbe", "readinessProbe", "startupProbe"].compactMap { container[$0] }
                + ["postStart", "preStop"].compactMap { container["lifecycle"]?[$0] }
            return handlers.flatMap { handler in
                ["httpGet", "tcpSocket"].compactMap { handler[$0]?["host"]?.string }.filter { !$0.isEmpty }
            }
        }
        let bad = Set(names { !hosts($0).isEmpty }).sorted()
        if bad.isEmpty { return nil }
        let all = Set(containers.flatMap(hosts)).sorted()
        let uses = Self.plural("uses", "use", bad.count)
        let what = Self.plural("probe or lifecycle host", "probe or lifecycle hosts", all.count)
        return PodSecurityViolation(
            reason: "probe or lifecycle host", detail: "\(Self.named(bad)) \(uses) \(what) \(Self.quoted(all))")
    }

    private func privileged() -> PodSecurityViolation? {
        let bad = names { context($0)["privileged"] == true }
        if bad.isEmpty { return nil }
        return PodSecurityViolation(
            reason: "privileged", detail: "\(Self.named(bad)) must not set securityContext.privileged=true")
    }

    private func procMount() -> PodSecurityViolation? {
        if policy.has(35), hasOwnUsers { return nil }
        return strictProcMount()
    }

    func strictProcMount() -> PodSecurityViolation? {
        func kind(_ container: JSON) -> String? {
            let kind = context(container)["procMount"]?.string
            return kind == "Default" ? nil : kind
        }
        let bad = names { kind($0) != nil }
        if bad.isEmpty { return nil }
        let what = Set(containers.compactMap(kind)).sorted()
        return PodSecurityViolation(
            reason: "procMount",
            detail: "\(Self.named(bad)) must not set securityContext.procMount to \(Self.quoted(what))")
    }

    private func seLinux() -> PodSecurityViolation? {
        var allowed: Set<String> = ["", "container_t", "container_init_t", "container_kvm_t"]
        if policy.has(31) { allowed.insert("container_engine_t") }
        var types: Set<String> = []
        var (hasUser, hasRole) = (false, false)
        func isBad(_ context: JSON) -> Bool {
            guard let options = context["seLinuxOptions"] else { return false }
            let type = options["type"]?.string ?? ""
            let setsUser = options["user"]?.string?.isEmpty == false
            let setsRole = options["role"]?.string?.isEmpty == false
            if !allowed.contains(type) { types.insert(type) }
            if setsUser { hasUser = true }
            if setsRole { hasRole = true }
            return setsUser || setsRole || !allowed.contains(type)
        }
        let isPod = isBad(podContext)
        let bad = names { isBad(context($0)) }
        if !isPod, bad.isEmpty { return nil }
        var data: [String] = []
        if !types.isEmpty {
            data.append("\(Self.plural("type", "types", types.count)) \(Self.quoted(types.sorted()))")
        }
        if hasUser { data.append("user may not be set") }
        if hasRole { data.append("role may not be set") }
        let who = Self.setters(isPod, bad)
        return PodSecurityViolation(
            reason: "seLinuxOptions",
            detail: "\(who) set forbidden securityContext.seLinuxOptions: \(data.joined(separator: "; "))")
    }

    private func seccomp() -> PodSecurityViolation? {
        if !policy.has(19) { return seccompAnnotations() }
        return badSeccomp()
    }

    static func seccompType(_ context: JSON) -> String? { context["seccompProfile"]?["type"]?.string }

    private static func isGoodSeccomp(_ type: String) -> Bool { type == "Localhost" || type == "RuntimeDefault" }

    /// Profiles that no level above privileged allows.
    func badSeccomp() -> PodSecurityViolation? {
        func bad(_ context: JSON) -> String? {
            Self.seccompType(context).flatMap { Self.isGoodSeccomp($0) ? nil : $0 }
        }
        let isPod = bad(podContext) != nil
        let names = names { bad(context($0)) != nil }
        if !isPod, names.isEmpty { return nil }
        let values = Set(([podContext] + containers.map(context)).compactMap(bad)).sorted()
        return PodSecurityViolation(
            reason: "seccompProfile",
            detail:
                "\(Self.setters(isPod, names)) must not set securityContext.seccompProfile.type to \(Self.quoted(values))"
        )
    }

    /// Before 1.19 profiles were annotations.
    private func seccompAnnotations() -> PodSecurityViolation? {
        let keys =
            ["seccomp.security.alpha.kubernetes.io/pod"]
            + containers.map { "container.seccomp.security.alpha.kubernetes.io/\(Self.name($0))" }
        let bad = keys.compactMap { key -> String? in
            guard let value = annotations[key], value != "runtime/default", value != "docker/default",
                !value.hasPrefix("localhost/")
            else { return nil }
            return "\(key)=\"\(value)\""
        }.sorted()
        if bad.isEmpty { return nil }
        let what = Self.plural("annotation", "annotations", bad.count)
        return PodSecurityViolation(
            reason: "seccompProfile", detail: "forbidden \(what) \(bad.joined(separator: ", "))")
    }

    private func sysctls() -> PodSecurityViolation? {
        var allowed: Set<String> = [
            "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.tcp_syncookies",
            "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start",
        ]
        if policy.has(27) { allowed.insert("net.ipv4.ip_local_reserved_ports") }
        if policy.has(29) {
            allowed.formUnion([
                "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
                "net.ipv4.tcp_keepalive_probes",
            ])
        }
        if policy.has(32) { allowed.formUnion(["net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"]) }
        let bad = (podContext["sysctls"]?.array ?? []).map(Self.name).filter { !allowed.contains($0) }
        return bad.isEmpty
            ? nil : PodSecurityViolation(reason: "forbidden sysctls", detail: bad.joined(separator: ", "))
    }

    private func windowsHostProcess() -> PodSecurityViolation? {
        func isBad(_ context: JSON) -> Bool { context["windowsOptions"]?["hostProcess"] == true }
        let bad = names { isBad(context($0)) }
        let isPod = isBad(podContext)
        if !isPod, bad.isEmpty { return nil }
        return PodSecurityViolation(
            reason: "hostProcess",
            detail: "\(Self.setters(isPod, bad)) must not set securityContext.windowsOptions.hostProcess=true")
    }
}
