package import KubeTypes

/// All Services with their EndpointSlices, kept by what the API tells. Rules and DNS read the same table.
package struct ServiceTable: Sendable {
    package private(set) var services: [ObjectKey: ServiceModel] = [:]
    private var slices: [ObjectKey: SliceModel] = [:]
    private var slicesOfService: [ObjectKey: Set<ObjectKey>] = [:]

    package init() {}

    /// A Service as it is now, or `nil` when it is gone.
    /// - Returns: the service to look at again, or none when nothing changed that matters here.
    package mutating func set(service key: ObjectKey, _ model: ServiceModel?) -> Set<ObjectKey> {
        if services[key] == model { return [] }
        services[key] = model
        return [key]
    }

    /// An EndpointSlice as it is now, or `nil` when it is gone.
    /// - Returns: the services to look at again: two when the slice went from one to another.
    package mutating func set(slice key: ObjectKey, _ model: SliceModel?) -> Set<ObjectKey> {
        let before = slices[key]
        if before == model { return [] }
        var touched: Set<ObjectKey> = []
        if let service = before?.service {
            slicesOfService[service]?.remove(key)
            if slicesOfService[service]?.isEmpty == true { slicesOfService[service] = nil }
            touched.insert(service)
        }
        slices[key] = model
        if let service = model?.service {
            slicesOfService[service, default: []].insert(key)
            touched.insert(service)
        }
        return touched
    }

    /// A service's slices, in a steady order.
    package func slices(of service: ObjectKey) -> [SliceModel] {
        (slicesOfService[service] ?? []).sorted().compactMap { slices[$0] }
    }
}
