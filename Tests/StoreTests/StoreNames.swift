import Store

// `Testing` has an `Expectation` of its own.
typealias WriteExpectation = Expectation

/// What an error says; empty for none.
func words(_ error: (any Error)?) -> String { error.map { "\($0)" } ?? "" }
