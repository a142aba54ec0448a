import KubeTypes
import Wire

/// Why a conversion webhook's answer is of no use.
struct ConversionFault: Error, Sendable, Hashable, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// A question to a conversion webhook: these objects, please, in that version (apiextensions.k8s.io ConversionReview).
struct ConversionReview: Sendable {
    let uid: String
    let objects: [KubeObject]
    let wanted: String
    /// v1 or v1beta1: the first that the webhook names and we know.
    let version: String

    init(_ objects: [KubeObject], to apiVersion: String, _ conversion: WebhookConversion) throws(ConversionFault) {
        guard let version = conversion.reviewVersions.first(where: { $0 == "v1" || $0 == "v1beta1" }) else {
            throw ConversionFault("no supported conversion review versions")
        }
        uid = ObjectIdentity.newUID()
        self.objects = objects
        wanted = apiVersion
        self.version = version
    }

    private static let kind = "ConversionReview"
    private var apiVersion: String { "apiextensions.k8s.io/\(version)" }

    var request: JSON {
        [
            "kind": .string(Self.kind), "apiVersion": .string(apiVersion),
            "request": [
                "uid": .string(uid), "desiredAPIVersion": .string(wanted), "objects": .array(objects.map(\.json)),
            ],
        ]
    }

    /// The objects as the webhook made them, each with the metadata it may not touch as it was.
    func read(_ answer: JSON) throws(ConversionFault) -> [KubeObject] {
        if version == "v1" {
            let (given, kind) = (answer["apiVersion"]?.string ?? "", answer["kind"]?.string ?? "")
            guard given == apiVersion, kind == Self.kind else {
                throw ConversionFault(
                    "expected webhook response of \(apiVersion), Kind=\(Self.kind), got \(given), Kind=\(kind)")
            }
        }
        guard let response = answer["response"], !response.isNull else { throw ConversionFault("no response provided") }
        if version == "v1", response["uid"]?.string != uid {
            throw ConversionFault("expected response.uid=\"\(uid)\", got \"\(response["uid"]?.string ?? "")\"")
        }
        let status = response["result"]?["status"]?.string ?? ""
        guard status == "Success" else {
            let message = response["result"]?["message"]?.string ?? ""
            throw ConversionFault(
                message.isEmpty ? "response.result.status was '\(status)', not 'Success'" : message)
        }
        let made = response["convertedObjects"]?.array ?? []
        guard made.count == objects.count else {
            throw ConversionFault("returned \(made.count) objects, expected \(objects.count)")
        }
        var read: [KubeObject] = []
        for (index, json) in made.enumerated() {
            do throws(ConversionFault) {
                read.append(try check(KubeObject(json), objects[index]))
            } catch {
                throw ConversionFault("returned invalid converted object at index \(index): \(error)")
            }
        }
        return read
    }

    /// Labels and annotations may change; everything else in metadata is put back.
    private func check(_ made: KubeObject, _ original: KubeObject) throws(ConversionFault) -> KubeObject {
        guard made.apiVersion == wanted else {
            throw ConversionFault("invalid groupVersion (expected \(wanted), received \(made.apiVersion))")
        }
        guard made.kind == original.kind else {
            throw ConversionFault("must have the same kind: \(made.kind) != \(original.kind)")
        }
        guard made.json["metadata"]?.object != nil else {
            throw ConversionFault("missing metadata in converted object")
        }
        for (what, one, other) in [
            ("name", made.name, original.name), ("namespace", made.namespace, original.namespace),
            ("UID", made.uid, original.uid),
        ] where one != other {
            throw ConversionFault("must have the same \(what): \(one) != \(other)")
        }
        var restored = made
        var metadata = original.metadata
        metadata["labels"] = made.metadata["labels"]
        metadata["annotations"] = made.metadata["annotations"]
        restored.json["metadata"] = metadata
        return restored
    }
}
