import Wire

/// What an object may grow to.
package enum ObjectLimits {
    /// Objects and lists within each other in what a client sends. Less than `JSON` reads: `managedFields` repeat an object's fields
    /// some levels down, and a list or an event stands around it.
    package static let depth = JSON.deepest - 12
}
