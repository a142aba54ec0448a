print("demo-service")
