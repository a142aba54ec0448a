// Macros and constants the data plane needs.
#pragma once
#include <openssl/ssl.h>
