// KubeTypes
