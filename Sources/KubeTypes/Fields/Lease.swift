/// Fields of a Lease. Times have microseconds.
package enum Lease {
    package static let holderIdentity = Field<String>("spec", "holderIdentity")
    package static let leaseDurationSeconds = Field<Int>("spec", "leaseDurationSeconds")
    package static let acquireTime = Field<String>("spec", "acquireTime")
    package static let renewTime = Field<String>("spec", "renewTime")
    package static let leaseTransitions = Field<Int>("spec", "leaseTransitions")
}
