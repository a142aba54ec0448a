package import ContainerRuntime

/// One run of a container as the runtime tells it. The API's types have a `ContainerStatus` too, of all runs together.
package typealias RunStatus = ContainerRuntime.ContainerStatus
