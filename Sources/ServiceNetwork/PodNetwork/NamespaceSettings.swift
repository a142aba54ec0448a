import Kernel

/// The kernel's settings of a network namespace, by their names under `net.`, set before its links are made.
enum NamespaceSettings {
    /// For each namespace of ours. IPv6 stays on loopback only: the cluster has no IPv6 addresses.
    static let host = [
        "ipv6/conf/default/disable_ipv6": "1",
        "ipv4/conf/all/rp_filter": "0", "ipv4/conf/default/rp_filter": "0",
        "ipv4/conf/all/accept_redirects": "0", "ipv4/conf/default/accept_redirects": "0",
        "ipv4/conf/all/send_redirects": "0", "ipv4/conf/default/send_redirects": "0",
        // Refusals are answers here, and must come each time: no kind of ICMP message is rationed.
        "ipv4/icmp_ratemask": "0",
        // Rules see packets where they are routed. Seen inside a bridge too, a connection led back to the pod it came from
        // would be sent to the bridge port it came from, and lost.
        "bridge/bridge-nf-call-iptables": "0", "bridge/bridge-nf-call-ip6tables": "0",
        "bridge/bridge-nf-call-arptables": "0",
    ]
    /// An app need not be root to listen on port 80: its ports are its own.
    static let pod = host.merging(["ipv4/ip_unprivileged_port_start": "0"]) { $1 }
    static let router = host.merging(["ipv4/ip_forward": "1"]) { $1 }

    static func apply(_ settings: [String: String], in path: String) throws(SystemCallFailed) {
        try NetworkNamespace.run(in: path) { () throws(SystemCallFailed) in try apply(settings) }
    }

    /// In the calling thread's namespace. A setting this kernel does not have is left out: all have safe defaults.
    static func apply(_ settings: [String: String]) throws(SystemCallFailed) {
        for (name, value) in settings {
            do throws(SystemCallFailed) { try SmallFile.write(value, to: "/proc/sys/net/\(name)") } catch {
                if error.isMissingFile { continue }
                throw error
            }
        }
    }
}
