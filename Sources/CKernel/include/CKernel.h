// The C there is: what must run between clone and exec, and calls Swift cannot make.
#pragma once
#include "weft_crypto.h"
#include "weft_machine.h"
#include "weft_net.h"
#include "weft_process.h"
#include "weft_socket.h"
