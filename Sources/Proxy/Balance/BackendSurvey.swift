/// A backend's endpoints, as one loop sees them.
struct BackendSurvey: Sendable {
    var name: String
}
