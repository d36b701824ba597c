#include "lux.h"

static char request[256];
static lux_byte answer[4096];

static lux_size put(lux_size at, const char *text) {
  while (*text) request[at++] = *text++;
  return at;
}

/* Where the program begins. It is run by every member of the committee, and must do the same. */
LUX_EXPORT(run) void run(void) {
  lux_size at = put(0, "{\"source\":\"price\",\"params\":{\"symbol\":\"");
  at += lux_input(request + at, 16);
  at = put(at, "\"}}");
  lux_size length = lux_read(request, at, answer, sizeof answer);
  if (answer[0] != 0) lux_abort(answer + 1, length - 1);
  lux_output(answer + 1, length - 1);
}
