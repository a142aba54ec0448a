import Glibc
import Kernel

/// What went wrong at a start, in words for `kubectl describe`.
enum StartFault {
    static func explain(_ broken: SupervisorConnection.Broken, container: String, program: [UInt8]) -> RuntimeFailure {
        switch broken {
        case .ended:
            return RuntimeFailure(
                .kernel, "container \"\(container)\": the pod's supervisor is gone; the pod must be started again")
        case .failed(let failure):
            let subject = String(decoding: failure.subject, as: UTF8.self)
            switch failure.code {
            case SupervisionFailure.noSuchContainer:
                return RuntimeFailure(.notFound, "no container \"\(container)\" in the pod")
            case SupervisionFailure.alreadyThere:
                return RuntimeFailure(.kernel, "container \"\(container)\" still runs")
            case SupervisionFailure.badRequest:
                return RuntimeFailure(
                    .kernel, "container \"\(container)\": the pod's supervisor refused the request, or it does not run")
            default: break
            }
            let cause = text(failure.code)
            switch StartStep(rawValue: failure.step) ?? .none {
            case .exec:
                let name = String(decoding: program, as: UTF8.self)
                return RuntimeFailure(.badCommand, "exec of \"\(name)\" in container \"\(container)\": \(cause)")
            case .directory:
                return RuntimeFailure(
                    .badCommand, "working directory \(subject) of container \"\(container)\": \(cause)")
            case .mount:
                return RuntimeFailure(.kernel, "mount at \(subject) in container \"\(container)\": \(cause)")
            case let step:
                return RuntimeFailure(
                    .kernel, "start of container \"\(container)\" at step \(step) (\(subject)): \(cause)")
            }
        }
    }

    static func explain(_ failed: StartFailed, sandbox: String, supervisor: String) -> RuntimeFailure {
        let cause = text(failed.code)
        if failed.step == .exec {
            return RuntimeFailure(
                .kernel, "the supervisor \(supervisor) of pod \(sandbox) cannot be executed: \(cause)")
        }
        let hint = failed.code == EPERM ? "; the runtime must be root and able to make namespaces" : ""
        return RuntimeFailure(
            .kernel, "sandbox of pod \(sandbox) at step \(failed.step) (\(failed.subject)): \(cause)\(hint)")
    }

    /// The system's own words, in our lower case.
    private static func text(_ code: Int32) -> String {
        let text = String(cString: strerror(code))
        return text.prefix(1).lowercased() + text.dropFirst()
    }
}
