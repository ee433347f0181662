/* fuzz_h1 - arbitrary first bytes: detection of what is spoken, then mostly HTTP/1.1. The input's
 * own bytes choose where it is cut (fuzz_front.h). */
#include "tests/fuzz/fuzz_front.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    fuzz_front("", 0, data, size);
    return 0;
}
