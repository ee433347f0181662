/* cells_keep.h - what of an object its cells are made of: the rest need not be decoded. */
#ifndef KVD_APISERVER_CELLS_KEEP_H
#define KVD_APISERVER_CELLS_KEEP_H

#include "plugins/object/decode.h"

/* Constant after the first call. A column that looks at another field of one of these types needs
 * it here too: test_cells prints everything from both. Any thread. */
const struct decode_keep *cells_keep(void);

#endif
