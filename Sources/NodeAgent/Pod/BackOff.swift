/// How long a container that keeps ending waits before it starts again.
///
/// The step travels with each run as an annotation, so the rhythm survives the agent.
enum BackOff {
    static let annotation = "weft.dev/back-off-step"
    private static let first: Duration = .seconds(10)
    private static let longest: Duration = .seconds(300)
    /// A run this long counts as healthy: the next failure starts from the beginning.
    private static let healthyRun: Duration = .seconds(600)

    /// The wait after a run of this step has ended. The first restart comes at once.
    static func delay(step: Int) -> Duration {
        guard step > 0 else { return .zero }
        if step > 5 { return longest }
        return first * (1 << (step - 1))
    }

    /// The step of the run that follows one of `step` that lasted `run`.
    static func next(after step: Int, run: Duration) -> Int { run >= healthyRun ? 1 : step + 1 }

    /// What the step counts as once its run has ended: a healthy run wipes it.
    static func effective(step: Int, run: Duration) -> Int { run >= healthyRun ? 0 : step }
}
