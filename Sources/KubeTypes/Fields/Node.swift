package import Wire

/// Fields of a Node.
package enum Node {
    package static let podCIDR = Field<String>("spec", "podCIDR")
    package static let podCIDRs = Field<[String]>("spec", "podCIDRs")
    package static let unschedulable = Field<Bool>("spec", "unschedulable")
    package static let taints = Field<[JSON]>("spec", "taints")
    package static let providerID = Field<String>("spec", "providerID")
    package static let capacity = Field<JSON>("status", "capacity")
    package static let allocatable = Field<JSON>("status", "allocatable")
    package static let addresses = Field<[JSON]>("status", "addresses")
    package static let conditions = Field<[JSON]>("status", "conditions")
    package static let nodeInfo = Field<JSON>("status", "nodeInfo")
    package static let kubeletVersion = Field<String>("status", "nodeInfo", "kubeletVersion")
    package static let images = Field<[JSON]>("status", "images")
}
