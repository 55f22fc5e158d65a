#pragma once
#pragma clang module import SwiftGlibc

#include <jansson.h>
#include <jose/jose.h>

// json_decref() is a static inline function over a C11 atomic that Swift does not import.
static inline void cjose_release(json_t *value) { json_decref(value); }
