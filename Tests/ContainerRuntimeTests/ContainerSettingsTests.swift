import ContainerRuntime
import Glibc
import Kernel
import Testing

@Suite("What a container sees", .timeLimit(.minutes(5)))
struct ContainerSettingsTests {
    @Test("arguments, environment, user, groups, directory and host name are as asked")
    func settings() async throws {
        try await TestMachine.run { machine in
            let lines = try await machine.output(
                "echo $0 $1; echo $A $FROM_IMAGE; id -u; id -g; id -G; pwd; hostname; echo $HOSTNAME $HOME"
            ) { spec in
                spec.arguments = (spec.arguments ?? []) + ["zero", "one"]
                spec.environment = [("A", "1"), ("A", "2"), ("FROM_IMAGE", "no")]
                spec.user = 65534
                spec.group = 4242
                spec.supplementaryGroups = [7, 8]
                spec.workingDirectory = "/made/here"
            }
            try #require(lines.count == 8)
            #expect(lines[0] == "zero one")
            #expect(lines[1] == "2 no")
            #expect(lines[2...4] == ["65534", "4242", "4242 7 8"])
            #expect(lines[5] == "/made/here")
            #expect(lines[6].hasPrefix("host-out-"))
            #expect(lines[7] == "\(lines[6]) /nonexistent")
        }
    }

    @Test("a container has its own processes, host name, mounts and hosts file")
    func isolation() async throws {
        try await TestMachine.run { machine in
            let lines = try await machine.output(
                "echo $$; cat /etc/hosts /etc/resolv.conf; ls /; ls /proc | grep -c '^[0-9]*$'; ls /dev")
            #expect(lines.first == "1")
            // The last is the listing's own: nothing of ours was inherited.
            #expect(try await machine.output("exec ls /proc/self/fd") == ["0", "1", "2", "3"])
            #expect(lines.contains("127.0.0.1 localhost") && lines.contains("nameserver 127.0.0.1"))
            #expect(!lines.contains("work") && !lines.contains("opt"))
            for device in [
                "null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts", "shm", "mqueue", "stdin", "fd",
            ] {
                #expect(lines.contains(device), "no /dev/\(device)")
            }
            #expect(!lines.contains("vda") && !lines.contains("kmsg"))
        }
    }

    @Test("a root file system can be read-only, and what is mounted in it writable")
    func readOnlyRoot() async throws {
        try await TestMachine.run { machine in
            let volume = machine.directory + "/volume"
            try SmallFile.makeDirectories(volume)
            let lines = try await machine.output(
                "touch /x && echo wrote; touch /vol/y && echo wrote vol; echo z > /dev/shm/z && echo wrote shm"
            ) { spec in
                spec.hasReadOnlyRoot = true
                spec.mounts = [BindMount(source: volume, target: "/vol", isReadOnly: false)]
            }
            #expect(lines.filter { $0.hasPrefix("wrote") } == ["wrote vol", "wrote shm"])
            #expect(lines.contains { $0.contains("Read-only file system") })
            #expect(access(volume + "/y", F_OK) == 0)
        }
    }

    @Test("files and directories are mounted, read-only when asked, and made where they are missing")
    func bindMounts() async throws {
        try await TestMachine.run { machine in
            let source = machine.directory + "/source"
            try SmallFile.makeDirectories(source + "/inner")
            try SmallFile.write("content\n", to: source + "/file")
            let lines = try await machine.output(
                "cat /deep/er/file; cat /all/file; touch /all/new; touch /all/inner/new; echo $?; ls /dev/here"
            ) { spec in
                spec.mounts = [
                    BindMount(source: source + "/file", target: "/deep/er/file", isReadOnly: true),
                    BindMount(source: source + "/inner", target: "/all/inner", isReadOnly: false),
                    BindMount(source: source, target: "/all", isReadOnly: true),
                    BindMount(source: source + "/file", target: "/dev/here", isReadOnly: true),
                ]
            }
            #expect(lines.filter { $0 == "content" }.count == 2)
            #expect(lines.contains("0") && lines.contains("/dev/here"))
            #expect(access(source + "/inner/new", F_OK) == 0)
            #expect(access(source + "/new", F_OK) != 0)
        }
    }

    @Test("a mount's missing source is named with its target")
    func missingSource() async throws {
        try await TestMachine.run { machine in
            var spec = machine.script("p1", "true")
            spec.mounts = [BindMount(source: "/no/such", target: "/vol", isReadOnly: false)]
            do {
                _ = try await machine.start("p1", spec)
                Issue.record("it started")
            } catch let failure as RuntimeFailure {
                #expect(failure.message.contains("/vol") && failure.message.contains("/no/such"))
                #expect(failure.message.contains(#"container "app""#))
            }
        }
    }

    @Test("links in an image lead a mount nowhere outside the container")
    func linkEscape() async throws {
        try await TestMachine.run { machine in
            let outside = machine.directory + "/outside"
            try SmallFile.makeDirectories(outside)
            try SmallFile.write("mounted\n", to: machine.directory + "/file")
            var image = PackedImage(
                name: "weft.dev/escape:v1", files: [.init(source: "/bin/busybox", target: "/bin/busybox")],
                entrypoint: ["/bin/busybox", "cat"])
            image.links = [
                "/out": outside, "/up": "../../../../.." + outside, "/inside": "/tmp",
                "/upInside": "../../../../../tmp",
            ]
            _ = try ImagePacker(store: machine.runtime.images).pack(image)
            let file = machine.directory + "/file"
            // Within the container these links lead to its own /tmp.
            let lines = try await machine.output("") { spec in
                spec.image = "weft.dev/escape:v1"
                spec.arguments = ["/tmp/\(machine.name)-a", "/tmp/\(machine.name)-b"]
                spec.mounts = ["/inside/\(machine.name)-a", "/upInside/\(machine.name)-b"].map {
                    BindMount(source: file, target: $0, isReadOnly: true)
                }
            }
            #expect(lines == ["mounted", "mounted"])
            #expect(access("/tmp/\(machine.name)-a", F_OK) != 0 && access("/tmp/\(machine.name)-b", F_OK) != 0)
            // And these lead to what the container does not have, though the machine does.
            for link in ["/out", "/up"] {
                var spec = machine.script("p1", "")
                spec.image = "weft.dev/escape:v1"
                spec.mounts = [BindMount(source: file, target: link + "/a", isReadOnly: true)]
                let refused = spec
                await #expect(throws: RuntimeFailure.self) { try await machine.start("p1", refused) }
                #expect(access(outside + "/a", F_OK) != 0)
            }
        }
    }

    @Test("capabilities are Docker's, less what is dropped; the machine's devices and kernel memory are out of reach")
    func privileges() async throws {
        try await TestMachine.run { machine in
            let show = "grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/self/status"
            let common = try await machine.output(show)
            #expect(common.contains("CapEff:\t00000000a80425fb") && common.contains("NoNewPrivs:\t0"))
            let none = try await machine.output(show) { spec in
                spec.droppedCapabilities = ["ALL"]
                spec.addedCapabilities = ["NET_BIND_SERVICE"]
                spec.allowsPrivilegeEscalation = false
            }
            #expect(
                none.contains("CapEff:\t0000000000000400") && none.contains("CapBnd:\t0000000000000400")
                    && none.contains("NoNewPrivs:\t1"))
            let user = try await machine.output(show) { $0.user = 1000 }
            #expect(user.contains("CapEff:\t0000000000000000"))
            let reach = try await machine.output(
                "mknod /disk b 254 0; head -c 1 /disk && echo read disk; head -c 1 /proc/kcore | cat; echo 1 > /proc/sys/kernel/panic && echo set; mount -t tmpfs x /tmp && echo mounted; echo done"
            )
            #expect(
                reach.contains("done") && !reach.contains("read disk") && !reach.contains("set")
                    && !reach.contains("mounted"))
        }
    }

    @Test("the writable layers and the images are closed to the machine's users")
    func closedDirectories() async throws {
        try await TestMachine.run { machine in
            _ = try await machine.start("p1", machine.script("p1", "exec sleep 1000"))
            for path in ["state/pods/p1/layers", "state/images/layers"] {
                var facts = stat()
                #expect(
                    stat(machine.directory + "/" + path, &facts) == 0 && facts.st_mode & 0o077 == 0, "\(path) is open")
            }
            // Yet a user of the container reads its files.
            #expect(
                try await machine.output("cat /etc/group; cat /etc/hosts") { $0.user = 1000 }.contains(
                    "127.0.0.1 localhost"))
        }
    }

    @Test("listeners of the machine are inherited from descriptor 3 on")
    func machineListeners() async throws {
        try await TestMachine.run { machine in
            let port = Int.random(in: 30_000..<32_700)  // below the range of outgoing connections
            let lines = try await machine.output(
                "ls -l /proc/self/fd/3; echo $LISTEN_FDS $LISTEN_FDNAMES $LISTEN_PID; ls /proc/self/fd"
            ) { spec in
                spec.machineListeners = [MachineListener(name: "http", address: "127.0.0.1", port: port)]
            }
            #expect(lines.contains { $0.contains("socket:") })
            #expect(lines.contains("1 http 1"))
            await #expect(throws: RuntimeFailure.self) {
                var spec = machine.script("p1", "true")
                spec.machineListeners = [MachineListener(name: "http", address: "0.0.0.0", port: port)]
                _ = try await machine.start("p1", spec)
            }
        }
    }

    @Test("containers of a pod may share their processes")
    func sharedProcesses() async throws {
        try await TestMachine.run { machine in
            var sandbox = machine.sandbox("p1")
            sandbox.sharesProcessNamespace = true
            _ = try await machine.runtime.runSandbox(sandbox)
            _ = try await machine.runtime.startContainer(
                podUID: "p1", machine.script("p1", "exec sleep 1000", name: "other"))
            _ = try await machine.runtime.startContainer(podUID: "p1", machine.script("p1", "ps; echo end"))
            _ = try await machine.ended("p1")
            let lines = machine.lines(machine.logPath("p1"))
            #expect(lines.contains { $0.contains("mesh-init") } && lines.contains { $0.contains("sleep 1000") })
        }
    }
}
