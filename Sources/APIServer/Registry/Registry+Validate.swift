import KubeTypes

extension Registry {
    /// The rules of the kind, and those that need to look at other objects.
    func validate(
        _ object: KubeObject, old: KubeObject?, _ definition: ResourceDefinition, subresource: String? = nil
    ) throws(APIFailure) {
        try definition.validate(object, old: old, subresource: subresource)
    }
}
