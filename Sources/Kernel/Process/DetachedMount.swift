import CKernel
import Glibc

/// A mount that is attached nowhere yet: it travels as a descriptor into another mount namespace.
package enum DetachedMount {
    /// A writable view over layers.
    ///
    /// The layers are directories, the uppermost first; `scratch` is an empty directory, used for a moment on kernels
    /// before 6.5.
    package static func overlay(layers: [String], upper: String, work: String, scratch: String) throws(SystemCallFailed)
        -> OwnedDescriptor
    {
        var lower = layers.map { UnsafePointer<CChar>(strdup($0)) }
        lower.append(nil)
        defer { for text in lower { free(UnsafeMutablePointer(mutating: text)) } }
        let tree = weft_overlay(lower, upper, work, scratch)
        let code = errno
        guard tree >= 0 else { throw SystemCallFailed("overlay mount", code: code, on: upper) }
        return OwnedDescriptor(taking: tree)
    }

    /// A directory or file of this namespace, with all that is mounted below it.
    package static func bind(_ path: String, isReadOnly: Bool) throws(SystemCallFailed) -> OwnedDescriptor {
        let tree = weft_clone_tree(path, isReadOnly ? 1 : 0)
        let code = errno
        guard tree >= 0 else { throw SystemCallFailed("bind mount", code: code, on: path) }
        return OwnedDescriptor(taking: tree)
    }
}
