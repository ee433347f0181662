/* fuzz_h2 - arbitrary bytes after the HTTP/2 preface: frames, HPACK, gRPC framing, services that
 * answer, keep, reset and produce. The input's own bytes choose where it is cut (fuzz_front.h). */
#include "tests/fuzz/fuzz_front.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                                  "\0\0\0\4\0\0\0\0\0"; /* an empty SETTINGS frame */
    fuzz_front(preface, sizeof(preface) - 1, data, size);
    return 0;
}
