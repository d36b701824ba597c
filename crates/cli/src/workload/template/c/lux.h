/* What a program may import from lux_session_v1. The whole interface: docs/wire/guest-abi.md. */
#ifndef LUX_H
#define LUX_H

typedef unsigned char lux_byte;
typedef unsigned int lux_size;

/* The length of what is not there. */
#define LUX_NOTHING 0xffffffffu

#define LUX_IMPORT(name) __attribute__((import_module("lux_session_v1"), import_name(#name)))
#define LUX_EXPORT(name) __attribute__((export_name(#name)))

/* Read or change the world. The request is JSON; the answer is a byte, 0 if there is one and 1 if
   there is none, and then the value or the reason. Returns its length: if it is over `cap`, call
   again with `len` 0 and more room. */
LUX_IMPORT(read) lux_size lux_read(const void *ptr, lux_size len, void *out, lux_size cap);
LUX_IMPORT(write) lux_size lux_write(const void *ptr, lux_size len, void *out, lux_size cap);
LUX_IMPORT(state_get) lux_size lux_state_get(const void *key, lux_size key_len, void *out, lux_size cap);
LUX_IMPORT(state_put) void lux_state_put(const void *key, lux_size key_len, const void *ptr, lux_size len);
/* `receiver` holds 32 bytes. */
LUX_IMPORT(emit) void lux_emit(const void *receiver, const void *ptr, lux_size len);
LUX_IMPORT(log) void lux_log(const void *ptr, lux_size len);
LUX_IMPORT(random) void lux_random(void *out, lux_size len);
LUX_IMPORT(now) long long lux_now(void);
LUX_IMPORT(abort) void lux_abort(const void *ptr, lux_size len);
LUX_IMPORT(input) lux_size lux_input(void *out, lux_size cap);
LUX_IMPORT(output) void lux_output(const void *ptr, lux_size len);
LUX_IMPORT(checkpoint) void lux_checkpoint(const void *ptr, lux_size len);

#endif
