import ContainerRuntime
import KubeTypes
import NodeAgent
import Testing
import Wire

@Suite struct PodPlanTests {
    @Test("a new pod gets its sandbox first")
    func sandboxFirst() {
        #expect(PodFixture("app").plan.words == ["prepare"])
    }

    @Test("init containers run one after the other, then all others start together")
    func initOrder() {
        var pod = PodFixture("app", "log", initial: ["one", "two"])
        pod.makeSandbox()
        #expect(pod.plan.words == ["+one-0"])
        pod.running("one")
        #expect(pod.plan.words == [])
        pod.ended("one", 0)
        #expect(pod.plan.words == ["+two-0"])
        pod.ended("two", 0)
        #expect(pod.plan.words == ["+app-0", "+log-0"])
        pod.running("app")
        pod.running("log")
        #expect(pod.plan.words == [])
    }

    @Test("a failed init container starts again, and ends the pod when its policy is Never")
    func initFails() {
        var pod = PodFixture("app", initial: ["one"])
        pod.ended("one", 1)
        #expect(pod.plan.words == ["+one-1"])
        var never = PodFixture("app", initial: ["one"], policy: "Never")
        never.ended("one", 1)
        #expect(never.plan.words == [])
        #expect(never.status["phase"] == "Failed")
    }

    @Test("a sidecar holds its followers back until its startup probe has succeeded")
    func sidecarOrder() {
        var pod = PodFixture("app", initial: ["proxy", "migrate"], sidecars: ["proxy"])
        pod.giveStartupProbe("proxy")
        pod.makeSandbox()
        #expect(pod.plan.words == ["+proxy-0"])
        pod.running("proxy")
        #expect(pod.plan.words == [])
        pod.seen.verdicts["proxy-0"] = ProbeVerdict(isStarted: true, isReady: true)
        #expect(pod.plan.words == ["+migrate-0"])
        pod.ended("migrate", 0)
        #expect(pod.plan.words == ["+app-0"])
        #expect(pod.status["phase"] == "Pending")
    }

    @Test("a sidecar that ends starts again, whatever its code, and the others are left alone")
    func sidecarRestarts() {
        var pod = PodFixture("app", initial: ["proxy"], sidecars: ["proxy"])
        pod.running("app")
        pod.ended("proxy", 0)
        #expect(pod.plan.words == ["+proxy-1"])
    }

    @Test("a Never pod with a sidecar completes: the sidecar is stopped, then the pod has succeeded")
    func sidecarNeverBlocks() {
        var pod = PodFixture("job", initial: ["proxy"], sidecars: ["proxy"], policy: "Never")
        pod.running("proxy")
        pod.ended("job", 0)
        #expect(pod.plan.words == ["-proxy-0"])
        #expect(pod.status["phase"] == "Running")
        pod.ended("proxy", 143)
        #expect(pod.plan.words == [])
        #expect(pod.status["phase"] == "Succeeded")
        pod.json["status"] = pod.status
        #expect(pod.plan.words == ["release"])
    }

    @Test("sidecars of an ended pod stop in the reverse of their order, one at a time")
    func sidecarsStopInReverse() {
        var pod = PodFixture("job", initial: ["a", "b"], sidecars: ["a", "b"], policy: "Never")
        pod.running("a")
        pod.running("b")
        pod.ended("job", 0)
        #expect(pod.plan.words == ["-b-0"])
        pod.seen.stops["b-0"] = pod.seen.now + .seconds(30)
        #expect(pod.plan.words == [])
        pod.ended("b", 143)
        #expect(pod.plan.words == ["-a-0"])
    }

    @Test("a crash loop waits 0, 10, 20, 40, 80, 160, 300, 300 seconds")
    func crashLoop() throws {
        let delays = [0, 10, 20, 40, 80, 160, 300, 300]
        for (step, delay) in delays.enumerated() {
            var pod = PodFixture("app")
            pod.ended("app", 1, attempt: step, step: step)
            pod.seen.now = PodFixture.start + .seconds(1)
            if delay > 0 {
                #expect(pod.plan.words == [])
                #expect(pod.plan.wakeAt == PodFixture.start + .seconds(1 + delay))
                let state = pod.status["containerStatuses"]?[0]?["state"]
                #expect(state?["waiting"]?["reason"] == "CrashLoopBackOff")
                pod.seen.now = PodFixture.start + .seconds(1 + delay)
            }
            #expect(pod.plan.actions == [.start(container: "app", attempt: step + 1, backOffStep: step + 1)])
        }
    }

    @Test("the first restart is at once, so nothing is said of a crash loop, even by a clock read before the end")
    func firstRestart() {
        var pod = PodFixture("app")
        pod.ended("app", 1)
        pod.seen.now = PodFixture.start
        #expect(pod.plan.actions == [.start(container: "app", attempt: 1, backOffStep: 1)])
        let state = pod.status["containerStatuses"]?[0]?["state"]
        #expect(state?["waiting"] == nil)
        #expect(state?["terminated"]?["exitCode"] == 1)
    }

    @Test("after ten minutes of running, a crash counts as the first")
    func crashAfterHealthyRun() {
        var pod = PodFixture("app")
        pod.ended("app", 1, attempt: 7, step: 6, after: .seconds(600))
        pod.seen.now = PodFixture.start + .seconds(600)
        #expect(pod.plan.actions == [.start(container: "app", attempt: 8, backOffStep: 1)])
    }

    @Test("OnFailure restarts a failure and leaves a success")
    func onFailure() {
        var pod = PodFixture("a", "b", policy: "OnFailure")
        pod.ended("a", 0)
        pod.ended("b", 3)
        #expect(pod.plan.words == ["+b-1"])
    }

    @Test("deletion: barrier, then main containers at once, then sidecars in reverse, then removal")
    func deletion() {
        var pod = PodFixture("app", "log", initial: ["a", "b"], sidecars: ["a", "b"])
        for name in ["a", "b", "app", "log"] { pod.running(name) }
        pod.delete()
        #expect(pod.plan.words == ["barrier"])
        pod.seen.barrier = .waiting
        #expect(pod.plan.words == [])
        pod.seen.barrier = .passed
        #expect(pod.plan.words == ["-app-0", "-log-0"])
        pod.seen.stops["app-0"] = pod.seen.deadline
        pod.seen.stops["log-0"] = pod.seen.deadline
        #expect(pod.plan.words == [])
        pod.ended("app", 143)
        #expect(pod.plan.words == [])
        pod.ended("log", 143)
        #expect(pod.plan.words == ["-b-0"])
        pod.ended("b", 143)
        #expect(pod.plan.words == ["-a-0"])
        pod.ended("a", 143)
        #expect(pod.plan.words == ["remove"])
    }

    @Test("a barrier nobody opens holds until the grace period ends, no longer")
    func barrierIsBounded() {
        var pod = PodFixture("app")
        pod.running("app")
        pod.delete(grace: 5)
        pod.seen.barrier = .waiting
        #expect(pod.plan.wakeAt == pod.seen.deadline)
        pod.seen.now = pod.seen.now + .seconds(5)
        #expect(pod.plan.words == ["-app-0"])
    }

    @Test("a shorter grace period given later stops the containers again")
    func shorterGrace() {
        var pod = PodFixture("app")
        pod.running("app")
        pod.seen.barrier = .passed
        pod.seen.stops["app-0"] = pod.seen.now + .seconds(30)
        pod.delete(grace: 0)
        #expect(pod.plan.actions == [.stop(id: "app-0", by: pod.seen.now, why: .deleted)])
    }

    @Test("a failed liveness probe stops the container, and only once")
    func liveness() {
        var pod = PodFixture("app")
        pod.running("app")
        pod.seen.verdicts["app-0"] = ProbeVerdict(
            isStarted: true, isReady: false, mustRestart: "liveness probe failed: 500")
        #expect(pod.plan.words == ["-app-0"])
        pod.seen.stops["app-0"] = pod.seen.now + .seconds(30)
        #expect(pod.plan.words == [])
    }

    @Test("a lost supervisor: the sandbox is cleared, and runs go on counting from the API's memory")
    func lostSandbox() {
        var pod = PodFixture("app")
        pod.running("app", attempt: 2)
        pod.json["status"] = pod.status
        pod.seen.sandbox?.isRunning = false
        #expect(pod.plan.words == ["clear"])
        pod.seen.sandbox = nil
        #expect(pod.plan.words == ["prepare"])
        pod.makeSandbox()
        #expect(pod.plan.words == ["+app-3"])
    }

    @Test("a lost run of a Never pod is its failure")
    func lostNever() {
        var pod = PodFixture("app", policy: "Never")
        pod.running("app")
        pod.json["status"] = pod.status
        pod.seen.sandbox = nil
        #expect(pod.plan.words == [])
        #expect(pod.status["phase"] == "Failed")
        let state = pod.status["containerStatuses"]?[0]?["state"]
        #expect(state?["terminated"]?["reason"] == "ContainerStatusUnknown")
    }

    @Test("only the last two runs of a container are kept")
    func forgetting() {
        var pod = PodFixture("app")
        for attempt in 0..<3 { pod.ended("app", 1, attempt: attempt) }
        pod.running("app", attempt: 3)
        #expect(pod.plan.words == ["forget app-1", "forget app-0"])
    }

    @Test("what failed is tried again when its time has come")
    func setbacks() {
        var pod = PodFixture("app")
        let retry = pod.seen.now + .seconds(2)
        pod.seen.setbacks[.preparation] = Setback(reason: "FailedMount", message: "no", count: 1, retryAt: retry)
        #expect(pod.plan.words == [])
        #expect(pod.plan.wakeAt == retry)
        pod.seen.now = retry
        #expect(pod.plan.words == ["prepare"])
    }

    @Test("activeDeadlineSeconds ends the pod")
    func activeDeadline() {
        var pod = PodFixture("app", initial: ["proxy"], sidecars: ["proxy"])
        pod.json["spec"]?["activeDeadlineSeconds"] = 60
        pod.json["status"] = ["startTime": .string(PodFixture.start.description)]
        pod.running("app")
        pod.running("proxy")
        #expect(pod.plan.wakeAt == PodFixture.start + .seconds(60))
        pod.seen.now = PodFixture.start + .seconds(61)
        #expect(pod.plan.words == ["-app-0"])
        pod.ended("app", 143)
        pod.ended("proxy", 0)
        #expect(pod.status["phase"] == "Failed")
        #expect(pod.status["reason"] == "DeadlineExceeded")
    }

    @Test("an ephemeral container starts beside the others, once, and its end changes nothing")
    func ephemeral() {
        var pod = PodFixture("app", initial: ["one"])
        pod.addEphemeral("look")
        pod.running("one")
        #expect(pod.plan.words == ["+look-0"])
        pod.running("look")
        #expect(pod.plan.words == [])
        pod.ended("one", 0)
        pod.running("app")
        pod.ended("look", 3)
        #expect(pod.plan.words == [])
        let status = pod.status
        #expect(status["phase"] == "Running")
        let shown = status["ephemeralContainerStatuses"]?[0]
        #expect(shown?["name"] == "look" && shown?["state"]?["terminated"]?["exitCode"] == 3)
        #expect(shown?["ready"] == false)
    }

    @Test("an ephemeral container does not keep a pod that has come to its end")
    func ephemeralGoesWithThePod() {
        var pod = PodFixture("job", policy: "Never")
        pod.addEphemeral("look")
        pod.running("look")
        pod.ended("job", 0)
        #expect(pod.plan.words == ["-look-0"])
    }

    @Test(
        "other resources are given to a container that runs, and its status says both what it was promised and what it has"
    )
    func resize() throws {
        var pod = PodFixture("app")
        pod.running("app")
        pod.giveResources(["requests": ["cpu": "100m"]], to: "app", having: ["requests": ["cpu": "0.1"]])
        #expect(pod.plan.words == [])
        pod.giveResources(["requests": ["cpu": "200m"]], to: "app")
        #expect(pod.plan.words == ["resize app-0"])
        let status = pod.status
        let shown = try #require(status["containerStatuses"]?[0])
        #expect(shown["allocatedResources"]?["cpu"] == "200m" && shown["resources"]?["requests"]?["cpu"] == "0.1")
        #expect(status["conditions"]?.array?.contains { $0["type"] == "PodResizeInProgress" } == true)
        pod.json["status"] = status
        pod.giveResources(["requests": ["cpu": "200m"]], to: "app", having: ["requests": ["cpu": "200m"]])
        #expect(pod.plan.words == [])
        #expect(pod.status["conditions"]?.array?.contains { $0["type"] == "PodResizeInProgress" } == false)
    }

    @Test("resizePolicy RestartContainer starts the container anew, if what changes is what it names")
    func resizeByRestart() {
        var pod = PodFixture("app")
        pod.running("app")
        pod.giveResources(["limits": ["cpu": "1"]], to: "app", having: ["limits": ["cpu": "2"]], restarts: true)
        #expect(pod.plan.words == ["-app-0"])
        pod.giveResources(
            ["limits": ["memory": "1Gi"]], to: "app", having: ["limits": ["memory": "2Gi"]], restarts: true)
        #expect(pod.plan.words == ["resize app-0"])
    }

    @Test("what the node has no room for is not given, and said")
    func resizeRefused() throws {
        var pod = PodFixture("app")
        pod.running("app")
        pod.giveResources(["requests": ["cpu": "3"]], to: "app", having: ["requests": ["cpu": "1"]])
        let machine = MachineSize(processors: 4, memoryBytes: 1 << 30)
        let other: JSON = ["containers": [["name": "o", "resources": ["requests": ["cpu": "2"]]]]]
        #expect(ResizeRefusal.check(pod.pod.spec, among: [], machine: machine) == nil)
        let refusal = try #require(ResizeRefusal.check(pod.pod.spec, among: [other], machine: machine))
        #expect(refusal.reason == "Deferred")
        pod.seen.refusedResize = refusal
        #expect(pod.plan.words == [] && pod.plan.wakeAt != nil)
        let status = pod.status
        let pending = status["conditions"]?.array?.first { $0["type"] == "PodResizePending" }
        #expect(pending?["reason"] == "Deferred" && pending?["status"] == "True")
        #expect(status["containerStatuses"]?[0]?["allocatedResources"]?["cpu"] == "1")
        let small = MachineSize(processors: 2, memoryBytes: 1 << 30)
        #expect(ResizeRefusal.check(pod.pod.spec, among: [], machine: small)?.reason == "Infeasible")
    }
}
