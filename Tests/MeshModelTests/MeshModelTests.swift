// MeshModel
