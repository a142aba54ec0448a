import KubeClient
import KubeTypes
import Wire

/// Whose an object is: one that a selector selects and nobody controls is adopted, one that left the selector is released.
struct Ownership {
    var mine: [KubeObject] = []
    var adopted: [KubeObject] = []
    var released: [KubeObject] = []

    init(of owner: KubeObject, selector: LabelSelector, among objects: [KubeObject]) {
        let isEnding = owner.deletionTimestamp != nil
        for object in objects {
            if let controller = object.controller {
                guard controller.uid == owner.uid else { continue }
                if selector.matches(object.labels) {
                    mine.append(object)
                } else if !isEnding {
                    released.append(object)
                }
            } else if !isEnding, object.deletionTimestamp == nil, selector.matches(object.labels) {
                adopted.append(object)
            }
        }
    }

    /// Writes adoptions and releases; an object that changed or went meanwhile is looked at again next time.
    /// - Returns: all objects of the owner, the adopted ones as written.
    func settle(_ type: ResourceType, owner: KubeObject, api: any KubeAPI) async throws(APIFailure) -> [KubeObject] {
        var all = mine
        for object in adopted {
            var taken = object
            taken.ownerReferences =
                object.ownerReferences.filter { $0.uid != owner.uid } + [OwnerReference(controlledBy: owner)]
            do throws(APIFailure) {
                all.append(try await api.update(type, taken))
            } catch {
                guard error.isNotFound else { throw error }
            }
        }
        for object in released {
            var left = object
            left.ownerReferences = object.ownerReferences.filter { $0.uid != owner.uid }
            do throws(APIFailure) {
                _ = try await api.update(type, left)
            } catch {
                guard error.isNotFound else { throw error }
            }
        }
        return all
    }
}

/// The selector of a workload; one that selects nothing when it is absent or empty.
func workloadSelector(_ object: KubeObject) throws(APIFailure) -> LabelSelector {
    guard let json = object.spec["selector"], json.object?.isEmpty == false else {
        throw .badRequest("\(object.label): spec.selector is empty; it must select the labels of spec.template")
    }
    do throws(SelectorFault) {
        return try LabelSelector(object.kind == "ReplicationController" ? ["matchLabels": json] : json)
    } catch {
        throw .badRequest("\(object.label): spec.selector: \(error.message)")
    }
}
