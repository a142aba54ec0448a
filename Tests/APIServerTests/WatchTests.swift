import APIServer
import KubeClient
import KubeTypes
import Testing
import Wire

@Suite("Watches in process")
struct WatchTests {
    @Test("list then watch sees every change once, in order, while many write")
    func noGap() async throws {
        try await withServer { _, api in
            let list = try await api.list(.configMaps, namespace: "default", .all)
            let events = try await api.watch(.configMaps, namespace: "default", .all, from: list.resourceVersion)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for writer in 0..<6 {
                    group.addTask {
                        for number in 0..<20 {
                            var made = try await api.create(.configMaps, configMap("w\(writer)-\(number)"))
                            made.json["data"] = ["n": "1"]
                            _ = try await api.update(.configMaps, made)
                            try await api.delete(.configMaps, made.key)
                        }
                    }
                }
                var last = Int64(list.resourceVersion) ?? 0
                var seen: [String: [WatchEvent.Kind]] = [:]
                var count = 0
                for try await event in events {
                    let revision = try #require(Int64(event.object.resourceVersion))
                    #expect(revision > last)
                    last = revision
                    seen[event.object.name, default: []].append(event.kind)
                    count += 1
                    if count == 360 { break }
                }
                #expect(seen.count == 120)
                #expect(seen.values.allSatisfy { $0 == [.added, .modified, .deleted] })
                try await group.waitForAll()
            }
        }
    }

    @Test("an object that begins or stops to match a selector is added and deleted")
    func selectors() async throws {
        try await withServer { _, api in
            let start = try await api.list(.configMaps)
            let events = try await api.watch(
                .configMaps, namespace: "default", Selection(labels: "app=web"), from: start.resourceVersion)
            var made = try await api.create(.configMaps, configMap("m"))
            for labels in [["app": "web"], ["app": "web", "x": "y"], ["app": "other"]] {
                made.labels = labels
                made = try await api.update(.configMaps, made)
            }
            var kinds: [WatchEvent.Kind] = []
            for try await event in events {
                kinds.append(event.kind)
                if kinds.count == 3 { break }
            }
            #expect(kinds == [.added, .modified, .deleted])
            let byName = try await api.watch(
                .configMaps, namespace: "default", Selection(fields: "metadata.name=m"), from: "0")
            for try await event in byName {
                #expect(event.kind == .added && event.object.name == "m")
                break
            }
        }
    }

    @Test("a watch from a version the server never gave is refused; one that is too old is 410")
    func versions() async throws {
        try await withServer { _, api in
            let future = await failure { () throws(APIFailure) in
                _ = try await api.watch(.configMaps, namespace: "", .all, from: "99999999")
            }
            #expect(future?.code == 504)
            let nonsense = await failure { () throws(APIFailure) in
                _ = try await api.watch(.configMaps, namespace: "", .all, from: "x")
            }
            #expect(nonsense?.code == 400)
        }
    }

    @Test("a watch from before the history is 410, and the list that follows it works")
    func expired() async throws {
        try await withServer({ $0.historyEvents = 16 }) { _, api in
            let start = try await api.list(.configMaps).resourceVersion
            for number in 0..<40 { _ = try await api.create(.configMaps, configMap("e\(number)")) }
            let expired = await failure { () throws(APIFailure) in
                _ = try await api.watch(.configMaps, namespace: "", .all, from: start)
            }
            #expect(expired?.isExpired == true && expired?.reason == "Expired")
            let list = try await api.list(.configMaps, namespace: "default", .all)
            #expect(list.items.count == 40)
            let events = try await api.watch(.configMaps, namespace: "", .all, from: list.resourceVersion)
            _ = try await api.create(.configMaps, configMap("after"))
            for try await event in events {
                #expect(event.object.name == "after")
                break
            }
        }
    }

    @Test("a watch ends when the server stops")
    func stop() async throws {
        let events = try await withServer { _, api in try await api.watch(.pods, namespace: "", .all, from: "") }
        var count = 0
        for try await _ in events { count += 1 }
        #expect(count == 0)
    }
}
