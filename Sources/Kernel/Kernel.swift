// The machine's side: descriptors, namespaces, mounts, cgroups, netlink.
