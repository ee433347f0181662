/* oidc.h - what others need to verify our tokens: the issuer's document and its keys. */
#ifndef KVD_APISERVER_OIDC_H
#define KVD_APISERVER_OIDC_H

#include "plugins/apiserver/exchange.h"

/* Answers /.well-known/openid-configuration and /openid/v1/jwks. False: the path is neither. */
bool oidc_answer(struct exchange *ex, struct slice path);

#endif
