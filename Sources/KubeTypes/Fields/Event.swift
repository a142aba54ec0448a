package import Wire

/// Fields of a core/v1 Event.
package enum Event {
    package static let involvedObject = Field<JSON>("involvedObject")
    package static let reason = Field<String>("reason")
    package static let message = Field<String>("message")
    package static let type = Field<String>("type")  // Normal or Warning
    package static let count = Field<Int>("count")
    package static let firstTimestamp = Field<Timestamp>("firstTimestamp")
    package static let lastTimestamp = Field<Timestamp>("lastTimestamp")
    package static let eventTime = Field<String>("eventTime")
    package static let reportingController = Field<String>("reportingComponent")
    package static let reportingInstance = Field<String>("reportingInstance")
    package static let action = Field<String>("action")
}
