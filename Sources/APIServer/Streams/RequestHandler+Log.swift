import KubeClient
import KubeTypes
import Logging
import NIOHTTP1
import Transport

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
        var options = LogOptions()
        options.follow = request.query.flag("follow")
        options.previous = request.query.flag("previous")
        options.timestamps = request.query.flag("timestamps")
        options.tailLines = try request.query.integer("tailLines")
        options.sinceSeconds = try request.query.integer("sinceSeconds")
        options.limitBytes = try request.query.integer("limitBytes")
        let stream = request.query["stream"]
        if !stream.isEmpty {
            guard let known = LogStream(rawValue: stream) else {
                throw .badRequest("query parameter stream: \"\(stream)\": allowed are All, Stdout, Stderr")
            }
            if known != .all, options.tailLines != nil {
                throw .badRequest("query parameter tailLines is not allowed with stream \(stream)")
            }
            options.stream = known
        }
        let since = request.query["sinceTime"]
        if !since.isEmpty {
            guard Timestamp(since) != nil else {
                throw .badRequest("query parameter sinceTime: \"\(since)\" is not an RFC 3339 time")
            }
            options.sinceTime = since
        }
        let bytes = try await gateway.logs(pod: pod, container: container, options)
        do {
            try await responder.start(.ok, ["content-type": "text/plain"])
            for try await chunk in bytes { try await responder.write(chunk) }
            try await responder.end()
        } catch {
            logger.debug("log ended", metadata: ["pod": "\(pod.key)", "reason": "\(error)"])
        }
    }
}
