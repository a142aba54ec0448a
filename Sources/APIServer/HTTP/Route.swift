import KubeTypes

/// What a request's path names.
enum Route: Hashable {
    case resource(ResourceRoute)
    /// Discovery, health, documents.
    case path(String)
}

/// `/apis/apps/v1/namespaces/demo/deployments/web/scale`, taken apart. Empty where the path says nothing.
struct ResourceRoute: Hashable {
    var group = ""
    var version = ""
    var namespace = ""
    var resource = ""
    var name = ""
    var subresource = ""
    /// What follows `proxy`, with its slash; empty for other subresources.
    var suffix = ""

    var key: ObjectKey { ObjectKey(namespace: namespace, name: name) }
}

extension Route {
    /// `path`: without the query, percent signs still in it.
    init(path: String) {
        var path = path
        self = path.withUTF8 { Self.read($0) }.map(Route.resource) ?? .path(path)
    }

    /// More segments than a path of a resource has.
    private static let mostSegments = 9

    /// `nil` where the path is no resource's.
    private static func read(_ path: UnsafeBufferPointer<UInt8>) -> ResourceRoute? {
        withUnsafeTemporaryAllocation(of: Range<Int>.self, capacity: mostSegments) { places in
            var count = 0
            var begin = 0
            for place in 0...path.count where place == path.count || path[place] == UInt8(ascii: "/") {
                if place > begin {
                    places[count] = begin..<place
                    count += 1
                    if count == mostSegments { break }
                }
                begin = place + 1
            }
            return read(path, UnsafeBufferPointer(rebasing: places[..<count]))
        }
    }

    private static func read(
        _ path: UnsafeBufferPointer<UInt8>, _ parts: UnsafeBufferPointer<Range<Int>>
    ) -> ResourceRoute? {
        func part(_ place: Int) -> String {
            Query.decoded(
                String(decoding: UnsafeBufferPointer(rebasing: path[parts[place]]), as: UTF8.self), plusIsSpace: false)
        }
        guard let first = parts.first else { return nil }
        var route = ResourceRoute()
        /// The place of the resource.
        var start: Int
        switch String(decoding: UnsafeBufferPointer(rebasing: path[first]), as: UTF8.self) {
        case "api" where parts.count >= 3:
            route.version = part(1)
            start = 2
        case "apis" where parts.count >= 4:
            route.group = part(1)
            route.version = part(2)
            start = 3
        default: return nil
        }
        route.resource = part(start)
        if route.resource == "namespaces", parts.count >= start + 3 {
            // `namespaces/demo/status` is a part of the namespace, not a resource in it.
            let next = part(start + 2)
            let isPartOfNamespace =
                route.group.isEmpty && parts.count == start + 3 && (next == "status" || next == "finalize")
            if !isPartOfNamespace {
                route.namespace = part(start + 1)
                route.resource = next
                start += 2
            }
        }
        if parts.count > start + 1 { route.name = part(start + 1) }
        if parts.count > start + 2 { route.subresource = part(start + 2) }
        if route.subresource == "proxy" {
            // All behind the segment, as it was sent.
            let end = parts[start + 2].upperBound
            route.suffix = String(decoding: UnsafeBufferPointer(rebasing: path[end...]), as: UTF8.self)
        } else if parts.count > start + 3 {
            return nil
        }
        return route
    }
}

/// The parameters behind the question mark. The first of a name counts, except where a list is asked for.
struct Query: Sendable, Hashable {
    private struct Item: Sendable, Hashable {
        let name: String
        let value: String
    }
    private let items: [Item]

    init(_ text: Substring) {
        items = text.utf8.split(separator: UInt8(ascii: "&")).map { pair in
            let parts = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            return Item(
                name: Self.decoded(String(Substring(parts[0]))),
                value: parts.count > 1 ? Self.decoded(String(Substring(parts[1]))) : "")
        }
    }

    subscript(name: String) -> String { items.first { $0.name == name }?.value ?? "" }

    /// In the order of the request.
    var pairs: [(String, String)] { items.map { ($0.name, $0.value) } }

    func all(_ name: String) -> [String] { items.filter { $0.name == name }.map(\.value) }

    func flag(_ name: String) -> Bool {
        guard let item = items.first(where: { $0.name == name }) else { return false }
        return item.value != "false" && item.value != "0"
    }

    func integer(_ name: String) throws(APIFailure) -> Int? {
        let text = self[name]
        if text.isEmpty { return nil }
        guard let value = Int(text) else { throw .badRequest("query parameter \(name): \"\(text)\" is not a number") }
        return value
    }

    /// A `%` that no two hexadecimal digits follow stands for itself.
    static func decoded(_ text: String, plusIsSpace: Bool = true) -> String {
        guard text.utf8.contains(where: { $0 == UInt8(ascii: "%") || $0 == UInt8(ascii: "+") }) else { return text }
        let bytes = Array(text.utf8)
        var out: [UInt8] = []
        var place = 0
        func digit(_ at: Int) -> UInt8? {
            guard at < bytes.count, let value = Character(Unicode.Scalar(bytes[at])).hexDigitValue else { return nil }
            return UInt8(value)
        }
        while place < bytes.count {
            if bytes[place] == UInt8(ascii: "%"), let high = digit(place + 1), let low = digit(place + 2) {
                out.append(high << 4 | low)
                place += 3
                continue
            }
            out.append(plusIsSpace && bytes[place] == UInt8(ascii: "+") ? 0x20 : bytes[place])
            place += 1
        }
        return String(decoding: out, as: UTF8.self)
    }
}
