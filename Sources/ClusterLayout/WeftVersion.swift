/// The version of this build: in `--version`, the API server's answers and the names of our own images.
package let weftVersion = "0.1.0"
