import Glibc

/// A proxy cannot start without the memory it reserves then, however little of it will be used.
enum StartFault {
    static func end(reserving bytes: Int, for what: String) -> Never {
        let code = errno
        log(
            "no address space for \(what): \(bytes >> 20) MB could not be reserved (\(String(cString: strerror(code)))); "
                + "is there a limit (ulimit -v), or vm.overcommit_memory=2?", level: "error")
        exit(71)
    }
}
