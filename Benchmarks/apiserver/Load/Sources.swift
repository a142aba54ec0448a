import Glibc
import NIOCore
import Synchronization
import Wire

/// To standard error.
func say(_ text: String) {
    var line = text + "\n"
    line.withUTF8 { _ = write(2, $0.baseAddress, $0.count) }
}

/// In milliseconds, of sorted nanoseconds.
private func percentile(_ part: Double, of sorted: [UInt64]) -> Double {
    sorted.isEmpty ? 0 : Double(sorted[min(sorted.count - 1, Int(Double(sorted.count) * part))]) / 1e6
}

/// Requests of one kind, and the times of their answers.
///
/// `@unchecked Sendable`: used on one event loop, and read when that has ended.
final class RequestSource: LoadSource, @unchecked Sendable {
    private let mode: Load.Mode
    private let namespace: String
    private let pods: Int
    private let prefix: String
    private var left: Int
    private var made = 0
    private var times: [UInt64] = []
    private var failures: [Int: Int] = [:]
    private var bytes = 0

    init(mode: Load.Mode, count: Int, namespace: String, pods: Int, prefix: String = "pod") {
        self.mode = mode
        self.namespace = namespace
        self.pods = pods
        self.prefix = prefix
        left = count
        times.reserveCapacity(count)
    }

    func next() -> LoadRequest? {
        if left == 0 { return nil }
        left -= 1
        made += 1
        let path = "/api/v1/namespaces/\(namespace)/pods"
        switch mode {
        case .create: return LoadRequest(method: "POST", path: path, body: pod("\(prefix)-\(made - 1)"))
        case .get: return LoadRequest(path: "\(path)/pod-\(Int.random(in: 0..<max(1, pods)))")
        case .list, .watch: return LoadRequest(path: path)
        }
    }

    /// About 1.2 KB, as a Deployment's pods are. The annotation tells when it was made.
    private func pod(_ name: String) -> [UInt8] {
        Array(
            """
            {"apiVersion":"v1","kind":"Pod","metadata":{"name":"\(name)","namespace":"\(namespace)","labels":{"app":"web",\
            "pod-template-hash":"5d8f7c9b6d","tier":"frontend","version":"v1"},"annotations":{"bench/time":"\(LoadConnection.now())",\
            "prometheus.io/scrape":"true","prometheus.io/port":"8080"}},"spec":{"containers":[{"name":"web",\
            "image":"registry.example.test/shop/web:1.27.3","command":["/bin/web","--listen=:8080","--log=json"],\
            "ports":[{"name":"http","containerPort":8080,"protocol":"TCP"}],"env":[{"name":"STAGE","value":"production"},\
            {"name":"POD_NAME","valueFrom":{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.name"}}},{"name":"REGION",\
            "value":"eu-west-1"}],"resources":{"limits":{"cpu":"500m","memory":"256Mi"},"requests":{"cpu":"100m","memory":\
            "128Mi"}},"readinessProbe":{"httpGet":{"path":"/ready","port":"http"},"periodSeconds":5},"volumeMounts":[{"name":\
            "config","mountPath":"/etc/web"}]}],"volumes":[{"name":"config","configMap":{"name":"web-config"}}],\
            "terminationGracePeriodSeconds":30,"nodeSelector":{"kubernetes.io/os":"linux"},"tolerations":[{"key":"dedicated",\
            "operator":"Equal","value":"web","effect":"NoSchedule"}]}}
            """.utf8)
    }

    func answered(status: Int, bytes: Int, nanoseconds: UInt64) {
        times.append(nanoseconds)
        self.bytes += bytes
        if !(200..<300).contains(status) { failures[status, default: 0] += 1 }
    }

    func received(_ bytes: ByteBufferView) {}

    /// How often each status came that is no success.
    var refusals: JSON { .object(JSONObject(failures.map { .init(String($0.key), .int(Int64($0.value))) })) }

    func report(seconds: Double) -> JSON {
        [
            "requests": .int(Int64(times.count)), "failures": refusals, "seconds": .double(seconds),
            "per_second": .double(Double(times.count) / seconds), "p50_ms": .double(milliseconds(0.5)),
            "p99_ms": .double(milliseconds(0.99)), "bytes": .int(Int64(bytes)),
        ]
    }

    var count: Int { times.count }

    /// What this part of the answers took at most.
    func milliseconds(_ part: Double) -> Double { percentile(part, of: times.sorted()) }
}

/// Watches of all pods, and how old events are when they come.
///
/// `@unchecked Sendable`: used on one event loop; read once the writes are over.
final class WatchSource: LoadSource, @unchecked Sendable {
    private let namespace: String
    private var left: Int
    private let count: Int
    let asked = Atomic(0)
    let came = Atomic(0)
    private var ages: [UInt64] = []
    private static let mark = Array("\"bench/time\":\"".utf8)
    /// Where the slash stands in it.
    private static let slash = 6

    init(count: Int, namespace: String) {
        left = count
        self.count = count
        self.namespace = namespace
    }

    func next() -> LoadRequest? {
        if left == 0 { return nil }
        left -= 1
        asked.add(1, ordering: .relaxed)
        return LoadRequest(
            path:
                "/api/v1/namespaces/\(namespace)/pods?watch=true&resourceVersionMatch=NotOlderThan&sendInitialEvents=false"
        )
    }

    func answered(status: Int, bytes: Int, nanoseconds: UInt64) {
        say("a watch ended with status \(status)")
    }

    /// A mark cut in two by a frame's end is not counted.
    func received(_ bytes: ByteBufferView) {
        let now = LoadConnection.now()
        bytes.withUnsafeBytes { space in
            guard let base = space.baseAddress else { return }
            var place = 0
            // The mark's slash is its rarest byte.
            while place < space.count, let slash = memchr(base + place, 0x2F, space.count - place) {
                let at = UnsafeRawPointer(slash) - base
                place = at + 1
                let start = at - Self.slash
                guard start >= 0, start + Self.mark.count <= space.count,
                    memcmp(base + start, Self.mark, Self.mark.count) == 0
                else { continue }
                place = start + Self.mark.count
                var time: UInt64 = 0
                while place < space.count, space[place] >= 0x30, space[place] <= 0x39 {
                    time = time * 10 + UInt64(space[place] - 0x30)
                    place += 1
                }
                if time > 0, time < now, now - time < 60_000_000_000 {
                    ages.append(now - time)
                    came.add(1, ordering: .relaxed)
                }
            }
        }
    }

    /// An event cannot come before its write is on disk, so the writes' own times stand beside.
    func report(of writes: RequestSource) -> JSON {
        let sorted = ages.sorted()
        return [
            "watches": .int(Int64(count)), "writes": .int(Int64(writes.count)), "failures": writes.refusals,
            "events": .int(Int64(ages.count)),
            "p50_ms": .double(percentile(0.5, of: sorted)), "p99_ms": .double(percentile(0.99, of: sorted)),
            "write_p50_ms": .double(writes.milliseconds(0.5)), "write_p99_ms": .double(writes.milliseconds(0.99)),
        ]
    }
}
