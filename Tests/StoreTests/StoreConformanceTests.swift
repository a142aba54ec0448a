import Store
import Testing

@Suite("What every store does", .serialized)
struct StoreConformanceTests {
    @Test("embedded", arguments: StoreConformance.cases)
    func embedded(_ each: StoreConformance.Case) async throws {
        let directory = try TemporaryDirectory()
        let path = directory.path
        let store = try EmbeddedStore(directory: path)
        defer { store.close() }
        try await each.run(
            .init(store: store, prefix: "/registry/conformance/") {
                store.close()
                return try EmbeddedStore(directory: path)
            })
    }

    @Test("etcd")
    func etcd() async throws {
        let cluster = try await EtcdCluster()
        for (number, each) in StoreConformance.cases.enumerated() {
            var configuration = try cluster.configuration(prefix: "/registry/case\(number)/")
            configuration.patience = .seconds(20)
            let fixed = configuration
            let store = try await EtcdStore.open(fixed)
            do {
                try await each.run(
                    .init(store: store, prefix: fixed.prefix) { try await EtcdStore.open(fixed) })
            } catch {
                Issue.record("\(each.name): \(error)")
            }
            store.close()
        }
    }
}
