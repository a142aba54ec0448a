print("mesh-init")
