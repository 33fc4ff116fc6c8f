/* Policy documents as IAM takes them. Pure; nothing is evaluated here. */
#pragma once

#include "auth/policy.h"

/* 0, or MalformedPolicyDocument in AWS's words. text is UTF-8. */
int document_check(const char *text, enum policy_kind kind, struct err *e);
/* What AWS counts against its limits: everything but white space. */
size_t document_size(const char *text);
