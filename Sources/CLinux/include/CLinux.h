// The kernel's calls as mesh-init sees them: Embedded Swift has no Glibc module. Kept out of CKernel, so that elsewhere
// these types stay Glibc's.
#pragma once
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { weft_try_again = 11, weft_interrupted = 4 };
