#pragma once

/// 0 when a thread of this process may make mount, network, IPC and UTS namespaces, else the errno. Changes nothing of the caller.
int weft_try_namespaces(void);

/// A pipe, both ends close-on-exec; 0 or the errno.
int weft_process_pipe(int ends[2]);

/// `POSIX_SPAWN_SETSID`, which glibc's headers hide from Swift.
short weft_spawn_setsid(void);

/// Gives freed heap back to the system. Nothing allocates meanwhile in the arena that is being walked.
void weft_trim_heap(void);
