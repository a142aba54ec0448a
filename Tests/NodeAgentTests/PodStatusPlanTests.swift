import ContainerRuntime
import KubeTypes
import NodeAgent
import Testing
import Wire

@Suite struct PodStatusPlanTests {
    private func condition(_ status: JSON, _ type: String) -> JSON? {
        status["conditions"]?.array?.first { $0["type"]?.string == type }
    }

    @Test("a pod being prepared is Pending and its containers are being created")
    func pending() {
        let status = PodFixture("app").status
        #expect(status["phase"] == "Pending")
        #expect(status["containerStatuses"]?[0]?["state"]?["waiting"]?["reason"] == "ContainerCreating")
        #expect(condition(status, "Ready")?["status"] == "False")
        #expect(condition(status, "Ready")?["message"] == "containers with unready status: [app]")
        #expect(condition(status, "PodScheduled")?["status"] == "True")
        #expect(status["startTime"] == .string(PodFixture.start.description))
        #expect(status["qosClass"] == "BestEffort")
    }

    @Test("containers wait with PodInitializing while init containers run")
    func initializing() {
        var pod = PodFixture("app", initial: ["one", "two"])
        pod.running("one")
        let status = pod.status
        #expect(status["initContainerStatuses"]?[1]?["state"]?["waiting"]?["reason"] == "PodInitializing")
        #expect(status["containerStatuses"]?[0]?["state"]?["waiting"]?["reason"] == "PodInitializing")
        #expect(condition(status, "Initialized")?["message"] == "containers with incomplete status: [one two]")
    }

    @Test("a running pod is Ready with its addresses; a finished init container is ready too")
    func ready() {
        var pod = PodFixture("app", initial: ["one"])
        pod.ended("one", 0)
        pod.running("app")
        let status = pod.status
        #expect(status["phase"] == "Running")
        #expect(status["podIP"] == "10.244.1.5")
        #expect(status["hostIP"] == "10.245.0.11")
        #expect(condition(status, "Ready")?["status"] == "True")
        #expect(condition(status, "PodReadyToStartContainers")?["status"] == "True")
        #expect(status["initContainerStatuses"]?[0]?["ready"] == true)
        #expect(status["initContainerStatuses"]?[0]?["state"]?["terminated"]?["reason"] == "Completed")
        #expect(status["containerStatuses"]?[0]?["containerID"] == "weft://u-1/app-0")
        #expect(status["containerStatuses"]?[0]?["started"] == true)
    }

    @Test("a sidecar that is not ready keeps the pod from being ready")
    func sidecarCounts() {
        var pod = PodFixture("app", initial: ["proxy"], sidecars: ["proxy"])
        pod.running("proxy")
        pod.running("app")
        pod.seen.verdicts["proxy-0"] = ProbeVerdict(isStarted: true, isReady: false)
        #expect(condition(pod.status, "Ready")?["message"] == "containers with unready status: [proxy]")
    }

    @Test("a condition keeps its transition time until it changes")
    func transitionTimes() {
        var pod = PodFixture("app")
        pod.running("app")
        pod.json["status"] = pod.status
        pod.seen.now = pod.seen.now + .seconds(100)
        #expect(condition(pod.status, "Ready")?["lastTransitionTime"] == .string(PodFixture.start.description))
        pod.ended("app", 1, step: 3)
        let changed = PodFixture.start + .seconds(100)
        #expect(condition(pod.status, "Ready")?["lastTransitionTime"] == .string(changed.description))
    }

    @Test("a restarted container shows how its last run ended")
    func lastState() {
        var pod = PodFixture("app")
        pod.ended("app", 137, attempt: 0)
        pod.seen.sandbox?.containers[0].state = .exited(code: 0, signal: 9, outOfMemory: true)
        pod.running("app", attempt: 1)
        let container = pod.status["containerStatuses"]?[0]
        #expect(container?["restartCount"] == 1)
        #expect(container?["lastState"]?["terminated"]?["reason"] == "OOMKilled")
        #expect(container?["lastState"]?["terminated"]?["exitCode"] == 137)
    }

    @Test("a sidecar counts its restarts on, and keeps its last end, over the loss of its supervisor")
    func restartsInNextSandbox() {
        var pod = PodFixture("app", initial: ["proxy"], sidecars: ["proxy"])
        pod.running("proxy", attempt: 1)
        pod.running("app")
        pod.json["status"] = pod.status
        pod.seen.sandbox = nil
        for _ in 1...3 {
            let waiting = pod.status["initContainerStatuses"]?[0]
            #expect(waiting?["state"]?["waiting"] != nil)
            #expect(waiting?["restartCount"] == 1)
            #expect(waiting?["lastState"]?["terminated"]?["exitCode"] == 137)
            pod.json["status"] = pod.status
        }
        pod.makeSandbox()
        #expect(pod.plan.words == ["+proxy-2"])
        pod.running("proxy", attempt: 2)
        for _ in 1...2 {
            let again = pod.status["initContainerStatuses"]?[0]
            #expect(again?["restartCount"] == 2)
            #expect(again?["lastState"]?["terminated"]?["containerID"] == "weft://u-1/proxy-1")
            pod.json["status"] = pod.status
        }
    }

    @Test("a start that fails tells its reason and message")
    func startSetback() {
        var pod = PodFixture("app")
        pod.makeSandbox()
        pod.seen.setbacks[.start(container: "app")] = Setback(
            reason: "ErrImageNeverPull", message: "image demo:v1 is not here", count: 1,
            retryAt: pod.seen.now + .seconds(1))
        let waiting = pod.status["containerStatuses"]?[0]?["state"]?["waiting"]
        #expect(waiting?["reason"] == "ErrImageNeverPull")
        #expect(waiting?["message"] == "image demo:v1 is not here")
    }

    @Test("a readiness gate holds the pod back until somebody opens it")
    func gates() {
        var pod = PodFixture("app")
        pod.json["spec"]?["readinessGates"] = [["conditionType": "weft.dev/go"]]
        pod.running("app")
        #expect(condition(pod.status, "ContainersReady")?["status"] == "True")
        #expect(condition(pod.status, "Ready")?["reason"] == "ReadinessGatesNotReady")
        pod.json["status"] = ["conditions": [["type": "weft.dev/go", "status": "True"]]]
        #expect(condition(pod.status, "Ready")?["status"] == "True")
    }

    @Test("a deleted pod whose containers have all ended reports its end before it goes")
    func deleted() {
        var pod = PodFixture("app")
        pod.running("app")
        pod.delete()
        #expect(pod.status["phase"] == "Running")
        pod.ended("app", 143)
        #expect(pod.status["phase"] == "Failed")
        pod.ended("app", 0)
        #expect(pod.status["phase"] == "Succeeded")
    }
}
