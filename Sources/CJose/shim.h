#pragma once
#pragma clang module import SwiftGlibc

#include <jansson.h>
#include <jose/jose.h>

// json_decref() is a static inline function over a C11 atomic that Swift does not import.
static inline void cjose_release(json_t *value) { json_decref(value); }

// Without a function of ours libjose writes what it finds wrong with a token to standard error.
static inline void cjose_ignore(void *misc, const char *file, int line, uint64_t error,
                                const char *format, va_list arguments) {}
static inline void cjose_silence(jose_cfg_t *configuration) {
    jose_cfg_set_err_func(configuration, cjose_ignore, NULL);
}
