// ServiceNetwork
