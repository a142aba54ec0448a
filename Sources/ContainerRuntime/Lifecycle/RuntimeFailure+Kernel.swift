import Glibc
package import Kernel

extension RuntimeFailure {
    /// A refused system call, with what it was for.
    package init(_ failed: SystemCallFailed, doing: String) {
        self.init(failed.code == ENOSPC || failed.code == EDQUOT ? .noSpace : .kernel, "\(doing): \(failed)")
    }
}

/// Runs a step whose system calls may fail and says what it was for.
func attempting<Value: ~Copyable>(
    _ what: @autoclosure () -> String, _ step: () throws(SystemCallFailed) -> Value
) throws(RuntimeFailure) -> Value {
    do throws(SystemCallFailed) { return try step() } catch { throw RuntimeFailure(error, doing: what()) }
}
