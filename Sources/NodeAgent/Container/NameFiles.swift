import KubeTypes
import Wire

/// `/etc/resolv.conf` and `/etc/hosts` of a pod.
enum NameFiles {
    /// - Parameter machine: the machine's own resolv.conf, for `dnsPolicy: Default`.
    static func resolvConf(_ pod: PodDescription, domain: String, server: String, machine: String) -> String {
        var policy = pod.spec["dnsPolicy"]?.string ?? "ClusterFirst"
        // On the host's network, the cluster's names are asked for with another word.
        if pod.usesHostNetwork, policy == "ClusterFirst" { policy = "Default" }
        var servers: [String] = []
        var search: [String] = []
        var options: [String] = []
        switch policy {
        case "None": break
        case "Default":
            for line in machine.split(separator: "\n") {
                let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).map(String.init)
                guard let first = words.first else { continue }
                if first == "nameserver" { servers += words.dropFirst() }
                if first == "search" { search = Array(words.dropFirst()) }
                if first == "options" { options = Array(words.dropFirst()) }
            }
        default:
            servers = [server]
            search = ["\(pod.namespace).svc.\(domain)", "svc.\(domain)", domain]
            options = ["ndots:5"]
        }
        if let config = pod.spec["dnsConfig"] {
            servers = unique(servers + (config["nameservers"]?.array ?? []).compactMap(\.string))
            search = unique(search + (config["searches"]?.array ?? []).compactMap(\.string))
            for option in config["options"]?.array ?? [] {
                guard let name = option["name"]?.string else { continue }
                options.removeAll { $0 == name || $0.hasPrefix(name + ":") }
                options.append(option["value"]?.string.map { "\(name):\($0)" } ?? name)
            }
        }
        var text = ""
        if !search.isEmpty { text += "search " + search.prefix(32).joined(separator: " ") + "\n" }
        // The C library reads three.
        for server in servers.prefix(3) { text += "nameserver \(server)\n" }
        if !options.isEmpty { text += "options " + options.joined(separator: " ") + "\n" }
        return text
    }

    static func hosts(_ pod: PodDescription, address: String, domain: String) -> String {
        var text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"
        var names = [pod.hostname]
        if let subdomain = pod.spec["subdomain"]?.string, !subdomain.isEmpty {
            names.insert("\(pod.hostname).\(subdomain).\(pod.namespace).svc.\(domain)", at: 0)
        }
        text += "\(address)\t\(names.joined(separator: "\t"))\n"
        for alias in pod.spec["hostAliases"]?.array ?? [] {
            guard let address = alias["ip"]?.string else { continue }
            let names = (alias["hostnames"]?.array ?? []).compactMap(\.string)
            text += "\(address)\t\(names.joined(separator: "\t"))\n"
        }
        return text
    }

    private static func unique(_ words: [String]) -> [String] {
        var seen: Set<String> = []
        return words.filter { seen.insert($0).inserted }
    }
}
