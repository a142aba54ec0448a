import KubeClient
import KubeTypes
import Logging
import NIOHTTP1
import Transport
import Wire

extension RequestHandler {
    var gateway: any NodeGateway {
        get throws(APIFailure) {
            if let nodes { return nodes }
            throw APIFailure(
                code: 503, reason: "ServiceUnavailable",
                message: "this server has no way to the nodes: logs and commands are not to be had here")
        }
    }

    /// A container's log as plain text; with `follow`, as it grows.
    func log(
        _ request: APIRequest, _ route: ResourceRoute, _ definition: ResourceDefinition, _ responder: HTTPResponder
    ) async throws(APIFailure) {
        let target = try PodContainer(registry, definition, route.key, asked: request.query["container"])
        let (pod, container) = (target.pod, target.name)
        let bytes = try await gateway.logs(pod: pod, container: container, try request.logOptions(pod.name))
        do {
            try await responder.start(.ok, ["content-type": "text/plain"])
            for try await chunk in bytes { try await responder.write(chunk) }
            try await responder.end()
        } catch {
            logger.debug("log ended", metadata: ["pod": "\(pod.key)", "reason": "\(error)"])
        }
    }
}

extension APIRequest {
    private static let logOptions = ResourceType(group: "", version: "v1", resource: "pods", kind: "PodLogOptions")

    /// - Throws: 400 and 422, as `PodLogOptions` is checked.
    fileprivate func logOptions(_ pod: String) throws(APIFailure) -> LogOptions {
        var options = LogOptions()
        options.follow = query.flag("follow")
        options.previous = query.flag("previous")
        options.timestamps = query.flag("timestamps")
        options.tailLines = try query.integer("tailLines")
        options.sinceSeconds = try query.integer("sinceSeconds")
        options.limitBytes = try query.integer("limitBytes")
        let stream = query["stream"]
        if !stream.isEmpty {
            guard let known = LogStream(rawValue: stream) else {
                throw .badRequest("query parameter stream: \"\(stream)\": allowed are All, Stdout, Stderr")
            }
            if known != .all, options.tailLines != nil {
                throw .badRequest("query parameter tailLines is not allowed with stream \(stream)")
            }
            options.stream = known
        }
        let since = query["sinceTime"]
        if !since.isEmpty {
            guard Timestamp(since) != nil else {
                throw .badRequest("query parameter sinceTime: \"\(since)\" is not an RFC 3339 time")
            }
            options.sinceTime = since
        }
        let faults = Self.faults(options)
        if !faults.isEmpty { throw .invalid(Self.logOptions, pod, faults) }
        return options
    }

    private static func faults(_ options: LogOptions) -> [FieldFault] {
        var faults: [FieldFault] = []
        func require(_ field: String, _ value: Int?, atLeast least: Int, _ words: String) {
            guard let value, value < least else { return }
            faults.append(FieldFault(.invalid, field, value: .int(Int64(value)), words))
        }
        require("tailLines", options.tailLines, atLeast: 0, "must be greater than or equal to 0")
        require("limitBytes", options.limitBytes, atLeast: 1, "must be greater than 0")
        require("sinceSeconds", options.sinceSeconds, atLeast: 1, "must be greater than 0")
        if options.sinceSeconds != nil, options.sinceTime != nil {
            faults.append(
                FieldFault(.forbidden, "", "at most one of `sinceTime` or `sinceSeconds` may be specified"))
        }
        return faults
    }
}
