// swift-tools-version: 6.1
import PackageDescription

let house: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"), .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .unsafeFlags(["-warnings-as-errors"]),
]
/// Without `_GNU_SOURCE`, glibc hides the Linux calls CKernel exists for.
let gnu: [CSetting] = [.define("_GNU_SOURCE"), .unsafeFlags(["-Wall", "-Wextra", "-Werror", "-std=gnu23"])]

/// How `meshd` is linked when it is to be fast (docs/decisions/0012). The runtime's libraries lie in the program itself; those after
/// the first are Foundation's (of Yams), which the linker is not told of when only it links so. jemalloc serves all allocations.
let fastServer: [LinkerSetting] = [
    .unsafeFlags(
        [
            "-static-stdlib", "-lCoreFoundation", "-l_FoundationCollections", "-l_FoundationCShims", "-l_FoundationICU",
            "-lstdc++",
        ],
        .when(configuration: .release)),
    .linkedLibrary("jemalloc", .when(configuration: .release)),
]

func module(_ name: String, _ needs: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: needs, swiftSettings: house)
}
func program(_ name: String, _ needs: [Target.Dependency] = []) -> Target {
    .executableTarget(name: name, dependencies: needs, swiftSettings: house)
}
func tests(_ name: String, exclude: [String] = [], _ needs: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: needs, exclude: exclude, swiftSettings: house)
}

/// One runs beside each pod, so it is Embedded Swift: no runtime library, 0.3 MB of its own memory. What it shares with
/// `Kernel` (the messages) it takes as source, by links, since it can import no ordinary Swift module.
let supervisor = Target.executableTarget(
    name: "mesh-init", dependencies: ["CKernel", "CLinux"],
    swiftSettings: [
        .enableExperimentalFeature("Embedded"), .enableUpcomingFeature("ExistentialAny"),
        .unsafeFlags(["-wmo", "-warnings-as-errors"]),
    ],
    linkerSettings: [.linkedLibrary("m")])

let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1: Target.Dependency = .product(name: "NIOHTTP1", package: "swift-nio")
let nioWebSocket: Target.Dependency = .product(name: "NIOWebSocket", package: "swift-nio")
let nioHTTP2: Target.Dependency = .product(name: "NIOHTTP2", package: "swift-nio-http2")
let nioHPACK: Target.Dependency = .product(name: "NIOHPACK", package: "swift-nio-http2")
let yams: Target.Dependency = .product(name: "Yams", package: "Yams")
let arguments: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let ordered: Target.Dependency = .product(name: "OrderedCollections", package: "swift-collections")
let deque: Target.Dependency = .product(name: "DequeModule", package: "swift-collections")

let package = Package(
    name: "weft",
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-http2", from: "1.46.0"),
        .package(url: "https://github.com/jpsim/Yams", from: "6.2.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    ],
    targets: [
        // System libraries.
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        .systemLibrary(name: "CSQLite", pkgConfig: "sqlite3", providers: [.apt(["libsqlite3-dev"])]),
        .systemLibrary(name: "CNftables", pkgConfig: "libnftables", providers: [.apt(["libnftables-dev"])]),
        .systemLibrary(name: "CLibYAML", providers: [.apt(["libyaml-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),

        // Pure: codecs, types, models.
        module("Wire"),
        .target(name: "CSchemas", cSettings: gnu),
        .target(name: "CProxyTemplates", cSettings: gnu),
        module("CEL", ["Wire"]),
        module("KubeTypes", ["Wire", "CSchemas", "CEL"]),
        module("ProxyResources", ["Wire"]),
        module("MeshModel", ["Wire", "KubeTypes", "ProxyResources"]),

        module("ClusterLayout"),

        // The machine.
        .target(name: "CKernel", cSettings: gnu),
        .target(name: "CAllocator", cSettings: gnu),
        .target(name: "CLinux", cSettings: gnu),
        module("Kernel", ["CKernel"]),
        module("TLS", ["COpenSSL"]),
        module("Loop", ["Kernel", "CKernel"]),

        // The data plane. libyaml is linked from its archive: one library less to load beside each pod.
        .target(
            name: "YAMLText", dependencies: ["CLibYAML", "Wire"], swiftSettings: house,
            linkerSettings: [.linkedLibrary(":libyaml.a")]),
        module("Proxy", ["Loop", "Wire", "YAMLText", "TLS", "COpenSSL", "Kernel", "CKernel", "ProxyResources"]),

        // The control plane.
        module(
            "Transport",
            [
                "TLS", "COpenSSL", "CZlib", "Wire", nioCore, nioPosix, nioHTTP1, nioHTTP2, nioHPACK, nioWebSocket,
                logging,
            ]),
        module("Store", ["Wire", "CSQLite", "CZlib", "TLS", "Transport", nioCore, nioPosix, logging]),
        module(
            "KubeClient", ["KubeTypes", "Wire", "Kernel", "TLS", nioCore, nioPosix, nioHTTP1, yams, logging, deque]),
        module(
            "APIServer",
            [
                "KubeTypes", "KubeClient", "CEL", "Wire", "Store", "Transport", "TLS", "Kernel", "CZlib", nioCore,
                nioPosix, nioHTTP1, nioWebSocket, yams, logging, deque,
            ]),
        module("Controllers", ["KubeClient", "KubeTypes", "Wire", logging]),
        module("Scheduler", ["KubeClient", "KubeTypes", "Wire", logging]),
        module(
            "MeshControl",
            [
                "MeshModel", "ProxyResources", "CProxyTemplates", "Kernel", "KubeClient", "KubeTypes", "Wire", "TLS",
                "Transport", nioCore,
                nioPosix, nioHTTP1, nioHTTP2,
                nioHPACK, yams, logging,
            ]),

        // The node.
        module("ContainerRuntime", ["Kernel", "CKernel", "Wire", "CZlib", "COpenSSL", logging]),
        module("ServiceNetwork", ["Kernel", "CKernel", "KubeClient", "KubeTypes", "Wire", "CNftables", logging]),
        module(
            "NodeAgent",
            ["ContainerRuntime", "ServiceNetwork", "KubeClient", "KubeTypes", "Wire", "Kernel", "CKernel", logging]),

        // Programs.
        supervisor,
        // One file, without the Swift runtime's libraries: less memory, and any image will do.
        .executableTarget(
            name: "meshproxy", dependencies: ["Proxy", "Loop", "ProxyResources", "Wire", "Kernel", "CKernel"],
            swiftSettings: house,
            // A sanitizer's runtime does not start in a program linked so.
            linkerSettings: Context.environment["WEFT_SANITIZE"] == nil ? [.unsafeFlags(["-static-stdlib"])] : []),
        .executableTarget(
            name: "meshd",
            dependencies: [
                "ClusterLayout", "APIServer", "Controllers", "Scheduler", "MeshControl", "NodeAgent",
                "ContainerRuntime", "ServiceNetwork",
                "KubeClient", "KubeTypes", "Kernel", "CKernel", "CAllocator", "Store", "Transport", "TLS", "Wire",
                "MeshModel", arguments, logging, yams, nioCore, nioPosix,
            ],
            swiftSettings: house, linkerSettings: fastServer),
        program(
            "meshctl",
            [
                "ClusterLayout", "KubeClient", "KubeTypes", "MeshModel", "Wire", "Kernel", "CKernel",
                "ContainerRuntime", "Store", arguments,
                yams, logging, nioCore, nioPosix,
            ]),
        program(
            "elector",
            [
                "KubeClient", "KubeTypes", "Kernel", "Transport", "Wire", arguments, logging, nioCore, nioHTTP1,
            ]),
        program("demo-service", ["Kernel", "CKernel", "Wire"]),
        .executableTarget(
            name: "mesh-compiler",
            dependencies: ["MeshControl", "MeshModel", "ProxyResources", "KubeClient", "KubeTypes", "Wire"],
            path: "Tests/Corpora/MeshCompiler", swiftSettings: house),
        .executableTarget(
            name: "store-load",
            dependencies: ["Store", "Transport", "TLS", "Wire", arguments, logging, nioCore],
            path: "Benchmarks/store/Load",
            swiftSettings: house),
        .executableTarget(
            name: "apiserver-load",
            dependencies: ["KubeClient", "TLS", "Transport", "Wire", arguments, nioCore, nioPosix],
            path: "Benchmarks/apiserver/Load", swiftSettings: house),
        .executableTarget(
            name: "hpack-stories", dependencies: ["Wire"], path: "Tests/Corpora/HPACKStories", swiftSettings: house),

        // Tests.
        .target(name: "CAllocations", path: "Tests/CAllocations", cSettings: gnu),
        .target(name: "TestSupport", path: "Tests/TestSupport", swiftSettings: house),
        tests("WireTests", ["Wire"]),
        tests("CELTests", ["CEL", "Wire"]),
        tests("KubeTypesTests", ["KubeTypes", "CSchemas", "Wire", yams]),
        tests("MeshModelTests", ["MeshModel", "ProxyResources", "KubeTypes", "Wire", yams]),
        tests("KernelTests", ["Kernel", "CKernel"]),
        tests("TLSTests", ["TLS", "COpenSSL"]),
        tests(
            "ProxyTests", exclude: ["schema_verdicts.py", "observe_reader.py", "Peers"],
            [
                "CAllocations", "TestSupport", "Proxy", "Loop", "Wire", "YAMLText", "TLS", "COpenSSL",
                "ProxyResources", "Kernel",
                "CKernel", "MeshControl", "MeshModel", "KubeTypes", nioCore, nioPosix, logging,
            ]),
        tests(
            "StoreTests",
            ["Store", "store-load", "TestSupport", "Transport", "TLS", "Wire", "CSQLite", nioCore, nioPosix, logging]),
        tests("TransportTests", ["Transport", "TLS", "Kernel", nioCore, nioPosix, nioHTTP1]),
        tests("KubeClientTests", ["KubeClient", "KubeTypes", "Wire", "TestSupport"]),
        tests(
            "APIServerTests", exclude: ["Peers"],
            [
                "APIServer", "elector", "KubeClient", "KubeTypes", "Store", "Transport", "TLS", "Kernel", "Wire",
                "TestSupport",
                nioCore, nioPosix,
            ]),
        tests("ControllersTests", ["Controllers", "KubeClient", "KubeTypes", "Wire", "TestSupport"]),
        tests(
            "ControlPlaneTests",
            ["APIServer", "Controllers", "Scheduler", "KubeClient", "KubeTypes", "Wire", "TestSupport"]),
        tests("SchedulerTests", ["Scheduler", "KubeClient", "KubeTypes", "Wire", "TestSupport"]),
        tests("MeshdTests", ["meshd", "Kernel", "KubeClient", "KubeTypes", "Wire", "TestSupport", logging]),
        tests(
            "MeshControlTests", exclude: ["ads_client.py"],
            [
                "MeshControl", "MeshModel", "Proxy", "ProxyResources", "Loop", "Kernel", "KubeClient", "KubeTypes",
                "Wire", "TLS", "Transport",
                nioCore, nioPosix, nioHTTP2,
                nioHPACK, logging,
            ]),
        tests("ContainerRuntimeTests", ["ContainerRuntime", "TestSupport", "Kernel", "CKernel", "Wire"]),
        tests(
            "ServiceNetworkTests",
            ["ServiceNetwork", "Kernel", "CKernel", "KubeClient", "KubeTypes", "Wire", "TestSupport"]),
        tests(
            "NodeAgentTests",
            [
                "NodeAgent", "ContainerRuntime", "ServiceNetwork", "KubeClient", "KubeTypes", "Wire", "Kernel",
                "TestSupport",
            ]),
    ],
    swiftLanguageModes: [.v6]
)

// `make fuzz` sets this, and the fuzzing sanitizer, without which the program cannot be linked.
if Context.environment["WEFT_FUZZ"] != nil {
    package.targets.append(
        .executableTarget(
            name: "weft-fuzz", dependencies: ["Wire", "TLS", "Proxy", "KubeTypes", "CEL"], path: "Fuzz",
            exclude: ["Seeds"],
            swiftSettings: house))
}

// `WEFT_ONLY=Wire,KubeTypesTests swift build --build-tests` builds these targets and what they need: a short edit-and-test loop.
if let only = Context.environment["WEFT_ONLY"] {
    var kept = Set(only.split(separator: ",").map(String.init))
    // Programs that tests start, and cannot depend on: their way of linking would become the tests'.
    let started = ["ProxyTests": "meshproxy", "ContainerRuntimeTests": "mesh-init", "NodeAgentTests": "mesh-init"]
    kept.formUnion(kept.compactMap { started[$0] })
    var grown = 0
    while grown != kept.count {
        grown = kept.count
        for target in package.targets where kept.contains(target.name) {
            for case .byNameItem(let name, _) in target.dependencies { kept.insert(name) }
        }
    }
    package.targets.removeAll { !kept.contains($0.name) }
}
