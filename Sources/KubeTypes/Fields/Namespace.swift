package import Wire

/// Fields of a Namespace.
package enum Namespace {
    package static let phase = Field<String>("status", "phase")  // Active or Terminating
    package static let finalizers = Field<[String]>("spec", "finalizers")
    package static let conditions = Field<[JSON]>("status", "conditions")
}
