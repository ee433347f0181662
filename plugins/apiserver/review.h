/* review.h - questions about users and rights: TokenReview, SelfSubjectReview, SubjectAccessReview
 * and its three sisters. They are asked by creating one, and nothing is stored. */
#ifndef KVD_APISERVER_REVIEW_H
#define KVD_APISERVER_REVIEW_H

#include "plugins/apiserver/exchange.h"

/* Answers when the request creates a review. False: it is about something else. */
bool review_answer(struct exchange *ex);

#endif
