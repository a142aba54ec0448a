#include "CKernel.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <unistd.h>

static void *try_namespaces(void *result) {
    *(int *)result = unshare(CLONE_FS | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) == 0 ? 0 : errno;
    return NULL;
}

int weft_try_namespaces(void) {
    pthread_t thread;
    int result = 0;
    int code = pthread_create(&thread, NULL, try_namespaces, &result);
    if (code != 0) return code;
    pthread_join(thread, NULL);
    return result;
}

int weft_process_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC) == 0 ? 0 : errno; }

short weft_spawn_setsid(void) { return POSIX_SPAWN_SETSID; }

void weft_trim_heap(void) { malloc_trim(0); }
