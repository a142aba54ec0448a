import KubeTypes
import Wire

/// The checks that only the level `restricted` has.
extension PodSecurityChecks {
    var restrictedChecks: [Check] {
        var checks: [Check] = []
        if policy.has(8) { checks.append { $0.privilegeEscalation() } }
        if policy.has(22) { checks.append { $0.fewCapabilities() } }
        if policy.has(35) { checks.append { $0.strictProcMount() } }
        checks += [{ $0.restrictedVolumes() }, { $0.nonRoot() }]
        if policy.has(23) { checks.append { $0.rootUser() } }
        if policy.has(19) { checks.append { $0.requiredSeccomp() } }
        return checks
    }

    /// Fields that pods of Windows cannot have are not asked of them.
    private var isSpared: Bool { policy.has(25) && isWindows }

    private func privilegeEscalation() -> PodSecurityViolation? {
        if isSpared { return nil }
        let bad = names { context($0)["allowPrivilegeEscalation"] != false }
        if bad.isEmpty { return nil }
        return PodSecurityViolation(
            reason: "allowPrivilegeEscalation != false",
            detail: "\(Self.named(bad)) must set securityContext.allowPrivilegeEscalation=false")
    }

    private func fewCapabilities() -> PodSecurityViolation? {
        if isSpared { return nil }
        let keeping = names { container in
            !(context(container)["capabilities"]?["drop"]?.array?.contains("ALL") ?? false)
        }
        let adding = names { added($0).contains { $0 != "NET_BIND_SERVICE" } }
        var details: [String] = []
        if !keeping.isEmpty {
            details.append("\(Self.named(keeping)) must set securityContext.capabilities.drop=[\"ALL\"]")
        }
        if !adding.isEmpty {
            let what = Set(containers.flatMap(added)).subtracting(["NET_BIND_SERVICE"]).sorted()
            details.append(
                "\(Self.named(adding)) must not include \(Self.quoted(what)) in securityContext.capabilities.add")
        }
        if details.isEmpty { return nil }
        return PodSecurityViolation(reason: "unrestricted capabilities", detail: details.joined(separator: "; "))
    }

    private static let plainVolumes: Set<String> = [
        "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim", "projected",
        "secret",
    ]

    private func restrictedVolumes() -> PodSecurityViolation? {
        var bad: [String] = []
        var types: Set<String> = []
        for volume in spec["volumes"]?.array ?? [] {
            let sources = (volume.object?.keys ?? []).filter { $0 != "name" }
            if sources.contains(where: Self.plainVolumes.contains) { continue }
            bad.append(Self.name(volume))
            types.insert(sources.first ?? "unknown")
        }
        if bad.isEmpty { return nil }
        let volumes = "\(Self.plural("volume", "volumes", bad.count)) \(Self.quoted(bad))"
        let uses = Self.plural("uses", "use", bad.count)
        let what = Self.plural("restricted volume type", "restricted volume types", types.count)
        return PodSecurityViolation(
            reason: "restricted volume types", detail: "\(volumes) \(uses) \(what) \(Self.quoted(types.sorted()))")
    }

    private func nonRoot() -> PodSecurityViolation? {
        if policy.has(35), hasOwnUsers { return nil }
        let reason = "runAsNonRoot != true"
        let isPodBad = podContext["runAsNonRoot"] == false
        let isPodGood = podContext["runAsNonRoot"] == true
        let refusing = names { context($0)["runAsNonRoot"] == false }
        if isPodBad || !refusing.isEmpty {
            return PodSecurityViolation(
                reason: reason,
                detail: "\(Self.setters(isPodBad, refusing)) must not set securityContext.runAsNonRoot=false")
        }
        let silent = names { context($0)["runAsNonRoot"] == nil }
        if isPodGood || silent.isEmpty { return nil }
        return PodSecurityViolation(
            reason: reason, detail: "pod or \(Self.named(silent)) must set securityContext.runAsNonRoot=true")
    }

    private func rootUser() -> PodSecurityViolation? {
        if policy.has(35), hasOwnUsers { return nil }
        let isPod = podContext["runAsUser"]?.int == 0
        let bad = names { context($0)["runAsUser"]?.int == 0 }
        if !isPod, bad.isEmpty { return nil }
        return PodSecurityViolation(
            reason: "runAsUser=0", detail: "\(Self.setters(isPod, bad)) must not set runAsUser=0")
    }

    private func requiredSeccomp() -> PodSecurityViolation? {
        if isSpared { return nil }
        if let bad = badSeccomp() { return bad }
        if Self.seccompType(podContext) != nil { return nil }
        let silent = names { Self.seccompType(context($0)) == nil }
        if silent.isEmpty { return nil }
        return PodSecurityViolation(
            reason: "seccompProfile",
            detail:
                "pod or \(Self.named(silent)) must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\""
        )
    }
}
