import KubeTypes
import Wire

/// Brings objects of custom kinds from one version to another by asking the webhook their CRD names.
final class ObjectConverter: Sendable {
    private let caller: WebhookCaller
    private let services: ServiceResolver

    /// For one call.
    private static let limit = Duration.seconds(30)
    /// Objects in one question.
    private static let most = 500

    init(_ caller: WebhookCaller, _ services: ServiceResolver) {
        self.caller = caller
        self.services = services
    }

    func convert(
        _ objects: [KubeObject], to apiVersion: String, _ conversion: WebhookConversion
    ) async throws(APIFailure) -> [KubeObject] {
        var made: [KubeObject] = []
        var rest = objects[...]
        while !rest.isEmpty {
            let part = Array(rest.prefix(Self.most))
            rest = rest.dropFirst(Self.most)
            made += try await ask(part, apiVersion, conversion)
        }
        return made
    }

    private func ask(
        _ objects: [KubeObject], _ apiVersion: String, _ conversion: WebhookConversion
    ) async throws(APIFailure) -> [KubeObject] {
        let from = "\(objects[0].apiVersion), Kind=\(objects[0].kind)"
        do throws(ConversionFault) {
            let review = try ConversionReview(objects, to: apiVersion, conversion)
            return try review.read(try await send(review.request, conversion))
        } catch {
            throw .internalError("conversion webhook for \(from) failed: \(error)")
        }
    }

    private func send(_ request: JSON, _ conversion: WebhookConversion) async throws(ConversionFault) -> JSON {
        let answer: WebhookAnswer
        let url: String
        do throws(WebhookFault) {
            let endpoint = try services.endpoint(WebhookClientConfig(conversion.client))
            url = "\(endpoint.url)?timeout=30s"
            do throws(WebhookFault) {
                answer = try await caller.post(endpoint, request.bytes, within: Self.limit)
            } catch {
                throw WebhookFault("Post \"\(url)\": \(error)")
            }
        } catch {
            throw ConversionFault(error.description)
        }
        guard (200..<300).contains(answer.status) else {
            let text = String(decoding: answer.body.prefix(200), as: UTF8.self)
            throw ConversionFault("Post \"\(url)\": the webhook answered \(answer.status): \(text)")
        }
        do throws(JSONFault) {
            return try JSON(parsing: answer.body)
        } catch {
            throw ConversionFault("Post \"\(url)\": the answer is not JSON: \(error)")
        }
    }
}
