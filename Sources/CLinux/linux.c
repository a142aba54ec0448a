#include "CLinux.h"

#include <errno.h>

_Static_assert(weft_try_again == EAGAIN && weft_interrupted == EINTR, "Linux numbers");
