import CKernel
import CLinux

// Started by the runtime as the first process of a pod's pid namespace, with descriptors 0 /dev/null, 1 and 2 a log,
// 3 the listening control socket, 4 the pod's run directory. It needs no argument and no file of the machine.
func supervise() -> Never {
    let own = weft_pidfd_open(getpid())
    let signals = weft_signals()
    guard own >= 0, signals >= 0, weft_enter_empty_root() == 0 else {
        let text: StaticString =
            "mesh-init: cannot leave the machine's root: it is started by the runtime, in namespaces of its own\n"
        _ = write(2, text.utf8Start, text.utf8CodeUnitCount)
        exit(1)
    }
    Supervisor(listener: 3, directory: 4, signals: signals, own: own).run()
}
supervise()
